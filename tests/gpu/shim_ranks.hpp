// Ranks with a device of the shim each, all in one thread: nothing of a group waits, so they take turns.
#pragma once

#include <chrono>
#include <deque>

#include "gpu/collectives.hpp"
#include "tests/gpu/shim_fixture.hpp"

namespace troupe::gpu::test {

struct shim_rank : device_fixture<shim::shim_runtime> {
  event_id event;
  std::unique_ptr<collectives> group;

  shim_rank(const shim::shim_options& options, const kernel_table& kernels)
      : device_fixture<shim::shim_runtime>(kernels, options), event(must(device.make_event())) {}

  bool is_ready() {
    const auto state = group->state();
    return state && *state == group_state::ready;
  }
  /// Until what was called is on its stream.
  void settle() {
    while (must(group->state()) == group_state::in_progress)
      ;
  }
};

using shim_ranks = std::deque<shim_rank>;

/// Asks again and again, for 20 seconds at most.
template <class Holds>
bool comes_true(Holds holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < until)
    if (holds())
      return true;
  return false;
}

/// What is queued on all of them is done. Only to be asked where it will be.
inline bool finish(shim_ranks& ranks) {
  for (auto& each : ranks)
    must(each.device.record(each.event, each.stream));
  return comes_true([&] {
    bool done = true;
    for (auto& each : ranks)
      done = must(each.device.is_done(each.event)) && done;
    return done;
  });
}

/// They have joined a group, and it may not be made yet.
inline shim_ranks joined_ranks(unsigned count, std::uint32_t seed, const shim::planned_rank_fault& of_the_last = {},
                               const kernel_table& kernels = {}) {
  shim_ranks ranks;
  group_id id{};
  for (unsigned rank = 0; rank < count; ++rank) {
    shim::shim_options options{.memory_bytes = std::size_t{1} << 26, .seed = seed + rank};
    options.longest_wait = std::chrono::milliseconds(100);
    if (rank + 1 == count)
      options.rank_fault = of_the_last;
    auto& made = ranks.emplace_back(options, kernels);
    if (rank == 0)
      id = must(made.device.make_group_id());
    auto joined = made.device.join_group(id, rank, count);
    BOOST_REQUIRE_MESSAGE(joined, joined.error().message);
    made.group = std::move(*joined);
  }
  return ranks;
}

inline shim_ranks ready_ranks(unsigned count, std::uint32_t seed, const shim::planned_rank_fault& of_the_last = {}) {
  auto ranks = joined_ranks(count, seed, of_the_last);
  BOOST_REQUIRE(comes_true([&] {
    bool ready = true;
    for (auto& each : ranks)
      ready = each.is_ready() && ready;
    return ready;
  }));
  return ranks;
}

} // namespace troupe::gpu::test
