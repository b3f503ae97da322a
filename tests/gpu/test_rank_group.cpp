// The watchdog: whatever goes wrong with any rank, in threads and in processes, all others are told, and nobody waits for ever.
#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstring>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "gpu/backend/rank_group.hpp"
#include "gpu/shim/runtime.hpp"
#include "tests/comm/groups.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;
using gpu::shim::planned_rank_fault;
using gpu::shim::rank_fault;

BOOST_AUTO_TEST_SUITE(rank_group_suite)

namespace {

using clock = std::chrono::steady_clock;

constexpr unsigned rank_count = 3, steps = 3;
constexpr std::size_t floats = 300;
/// On two busy cores, a thread that is due may wait for long.
constexpr auto patience = 5s;

/// What one rank has seen.
struct told {
  std::optional<error> why; ///< Of the first thing that failed.
  std::vector<float> sum, all;
  clock::duration last{}; ///< How long what came last has taken.
};

struct rank_options {
  planned_rank_fault fault = {};
  std::chrono::milliseconds timeout = 20s;
  std::uint32_t seed = 1;
  unsigned sums = 1; ///< Of a step, each with as much work as a layer.
};

/// In each step a sum and what all ranks have, as calls of the devices. Uses nothing of Boost.Test, which is not for threads.
class one_rank {
public:
  one_rank(std::shared_ptr<communicator> host, const rank_options& options)
      : host_(std::move(host)), options_(options), device_({}, shim_options()),
        group_(device_, host_, options.timeout) {}

  told run() {
    auto ok = step([&] { return group_.prepare(); }) && step([&] { return prepare(); }) &&
              step([&] { return group_.begin(); });
    for (unsigned i = 0; ok && i < steps; ++i)
      ok = step([&] { return compute(); });
    return std::move(told_);
  }

private:
  gpu::shim::shim_options shim_options() const {
    gpu::shim::shim_options options{.memory_bytes = 1 << 22, .seed = options_.seed + host_->rank()};
    options.rank_fault = options_.fault;
    return options;
  }

  template <class Call>
  bool step(Call call) {
    const auto begin = clock::now();
    const expected<void> done = call();
    told_.last = clock::now() - begin;
    if (!done)
      told_.why = done.error();
    return done.has_value();
  }

  expected<void> prepare() {
    const auto bytes = floats * sizeof(float);
    const auto stream = device_.make_stream();
    const auto own = device_.allocate(bytes), all = device_.allocate(bytes * rank_count);
    const auto pinned = device_.allocate_pinned(bytes * (rank_count + 1));
    if (!stream || !own || !all || !pinned)
      return fail(errc::internal, "A device of the shim has no memory.");
    stream_ = *stream;
    own_ = *own;
    all_ = *all;
    pinned_ = *pinned;
    return {};
  }

  expected<void> compute() {
    const auto bytes = floats * sizeof(float);
    auto* values = reinterpret_cast<float*>(pinned_);
    std::ranges::copy(partial_of(host_->rank(), floats, 7), values);
    if (auto done = device_.copy(stream_, own_, pinned_, bytes); !done)
      return done;
    if (auto done = group_.all_gather(stream_, own_, all_, floats); !done)
      return done;
    if (auto done = group_.all_reduce(stream_, own_, floats); !done)
      return done;
    for (unsigned i = 1; i < options_.sums; ++i) {
      for (int work = 0; work < 60; ++work)
        if (auto done = device_.fill(stream_, all_, 0, bytes); !done)
          return done;
      if (auto done = group_.all_gather(stream_, own_, all_, floats); !done)
        return done;
    }
    for (const auto& [to, from, count] :
         {std::tuple(pinned_, own_, bytes), {pinned_ + bytes, all_, bytes * rank_count}})
      if (auto done = device_.copy(stream_, to, from, count); !done)
        return done;
    if (auto done = group_.wait(stream_); !done)
      return done;
    told_.sum.assign(values, values + floats);
    told_.all.assign(values + floats, values + floats * (rank_count + 1));
    return {};
  }

  const std::shared_ptr<communicator> host_;
  const rank_options options_;
  gpu::shim::shim_runtime device_;
  gpu::rank_group group_;
  gpu::stream_id stream_{};
  gpu::address own_ = 0, all_ = 0, pinned_ = 0;
  told told_;
};

/// Of three ranks in threads, of which the last has the fault.
std::vector<told> run(ranks_of_group& hosts, const rank_options& options) {
  std::vector<told> seen(hosts.size());
  std::vector<std::jthread> threads;
  for (auto& each : hosts)
    threads.emplace_back([&] {
      auto own = options;
      const auto rank = each->rank();
      if (rank + 1 != hosts.size())
        own.fault = {};
      seen[rank] = one_rank(std::move(each), own).run();
    });
  threads.clear();
  return seen;
}

std::vector<told> run(const rank_options& options) {
  auto hosts = shared_memory_ranks({1, 1, 1});
  return run(hosts, options);
}

void expect_right(const std::vector<told>& seen) {
  std::vector<float> all;
  for (unsigned rank = 0; rank < rank_count; ++rank) {
    const auto part = partial_of(rank, floats, 7);
    all.insert(all.end(), part.begin(), part.end());
  }
  for (const auto& each : seen) {
    BOOST_REQUIRE_MESSAGE(!each.why, (each.why ? each.why->message : ""));
    BOOST_TEST((each.sum == seen[0].sum));
    BOOST_TEST((each.all == all));
  }
}

/// Each call at which something may go wrong: the making of the group, and in each step two.
constexpr std::uint64_t all_calls = 1 + 2 * steps;

} // namespace

BOOST_AUTO_TEST_CASE(ranks_in_threads_add_up_and_gather_what_they_have) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed)
    expect_right(run({.seed = seed * 10}));
}

BOOST_AUTO_TEST_CASE(a_rank_that_hangs_aborts_or_fails_at_any_call_costs_the_others_their_deadline_and_no_more) {
  for (const auto what : {rank_fault::hang, rank_fault::abort, rank_fault::async_error})
    for (std::uint64_t call = 0; call < all_calls; ++call)
      BOOST_TEST_CONTEXT("fault " << int(what) << " at " << call) {
        const auto seen = run({.fault = {.what = what, .call = call}, .timeout = 100ms});
        for (const auto& each : seen) {
          BOOST_REQUIRE(each.why);
          BOOST_TEST((each.why->code == errc::unavailable), each.why->message);
          BOOST_TEST((each.last < 100ms + patience));
        }
      }
}

BOOST_AUTO_TEST_CASE(the_failure_of_one_rank_is_known_to_all_long_before_their_deadlines) {
  for (const auto what : {rank_fault::abort, rank_fault::async_error})
    for (std::uint64_t call = 0; call < all_calls; ++call) {
      const auto seen = run({.fault = {.what = what, .call = call}, .timeout = 60s});
      for (const auto& each : seen) {
        BOOST_REQUIRE(each.why);
        BOOST_TEST((each.last < patience));
      }
    }
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_late_within_the_deadline_changes_nothing_and_a_later_one_is_an_error_for_all) {
  for (std::uint64_t call = 0; call < all_calls; ++call)
    expect_right(run({.fault = {.what = rank_fault::slow, .call = call, .delay = 20ms}}));
  for (const std::uint64_t call : {0u, 1u, 4u})
    for (const auto& each :
         run({.fault = {.what = rank_fault::slow, .call = call, .delay = 10s}, .timeout = 100ms})) {
      BOOST_REQUIRE(each.why);
      BOOST_TEST((each.why->code == errc::unavailable));
    }
}

BOOST_AUTO_TEST_CASE(a_raised_epoch_ends_what_hangs_and_the_next_one_has_a_new_group) {
  const auto options = options_of({1, 1, 1});
  auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  ranks_of_group hosts;
  for (unsigned rank = 0; rank < rank_count; ++rank)
    hosts.push_back(join(*group, options, rank));
  const auto begin = clock::now();
  std::jthread executor([&] {
    std::this_thread::sleep_for(100ms);
    group->abort();
  });
  for (const auto& each : run(hosts, {.fault = {.what = rank_fault::hang, .call = 3}, .timeout = 60s})) {
    BOOST_REQUIRE(each.why);
    BOOST_TEST(each.why->message == "The group of epoch 7 was aborted.");
  }
  BOOST_TEST((clock::now() - begin < patience));
  expect_right(run({}));
}

BOOST_AUTO_TEST_CASE(a_step_of_more_than_a_stream_has_room_for_ends_though_a_rank_hangs) {
  for (const std::uint64_t call : {0u, 5u, 25u}) { // 0: none does.
    const auto seen = run({.fault = {.what = call == 0 ? rank_fault::none : rank_fault::hang, .call = call},
                           .timeout = call == 0 ? 20s : 200ms,
                           .sums = 30});
    for (const auto& each : seen) {
      BOOST_TEST(each.why.has_value() == (call != 0));
      if (each.why)
        BOOST_TEST((each.why->code == errc::unavailable), each.why->message);
    }
  }
}

BOOST_AUTO_TEST_CASE(ranks_in_processes_outlive_one_that_hangs_or_is_killed) {
  for (const bool killed : {false, true}) {
    const auto options = options_of({1, 1, 1});
    auto group = shared_group::create(options);
    BOOST_REQUIRE(group);
    std::vector<pid_t> children;
    for (unsigned rank = 1; rank < rank_count; ++rank)
      if (const auto child = fork(); child == 0) {
        auto host = join_shared_group(group->address(), options, rank);
        if (!host)
          _exit(2);
        rank_options own{.timeout = 1s};
        if (rank == 2)
          own = {.fault = {.what = rank_fault::hang, .call = 2}, .timeout = 60s};
        const auto seen = one_rank(std::move(*host), own).run();
        _exit(seen.why && seen.why->code == errc::unavailable ? 0 : 1);
      } else {
        children.push_back(child);
      }
    std::jthread killer([&] {
      std::this_thread::sleep_for(300ms);
      if (killed)
        kill(children.back(), SIGKILL);
    });
    const auto begin = clock::now();
    const auto seen = one_rank(join(*group, options, 0), {.timeout = 1s}).run();
    BOOST_REQUIRE(seen.why);
    BOOST_TEST((seen.why->code == errc::unavailable), seen.why->message);
    BOOST_TEST((clock::now() - begin < 2s + patience));
    for (const auto child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      const bool by_us = killed && child == children.back();
      BOOST_TEST((by_us ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }
  }
}

BOOST_AUTO_TEST_CASE(ranks_in_processes_add_up_what_they_have) {
  const auto options = options_of({1, 1, 1});
  auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  std::vector<pid_t> children;
  for (unsigned rank = 1; rank < rank_count; ++rank)
    if (const auto child = fork(); child == 0) {
      auto host = join_shared_group(group->address(), options, rank);
      _exit(host && !one_rank(std::move(*host), {}).run().why ? 0 : 1);
    } else {
      children.push_back(child);
    }
  expect_right({one_rank(join(*group, options, 0), {}).run()});
  for (const auto child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
}

BOOST_AUTO_TEST_SUITE_END()
