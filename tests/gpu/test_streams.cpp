// Streams, events and graphs of the shim: what must be so is so for every seed, and what a program forgets is found by one of a few.
#include "gpu/portable/portable.hpp"
#include "tests/gpu/shim_fixture.hpp"

#include <cstdlib>

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

constexpr std::uint32_t seeds = 20;

/// y[i] = x[i] + by, one thread each.
struct add_number {
  static constexpr const char* name = "add_number";
  static constexpr unsigned max_threads = 32;
  struct arguments {
    global<const float> x;
    global<float> y;
    float by;
  };
  static TROUPE_GPU void run(const arguments& a, shared_memory) { a.y.store(lane(), a.x.load(lane()) + a.by); }
};

struct two_streams : shim_fixture<add_number> {
  explicit two_streams(std::uint32_t seed)
      : shim_fixture(seed), other(must(device.make_stream())), event(must(device.make_event())),
        x(upload(std::vector<float>(32, 1.0f))), y(space<float>(32)), z(space<float>(32)) {
    must(device.fill(stream, y.at, 0, 128));
    must(device.fill(stream, z.at, 0, 128));
    must(device.synchronize(stream));
  }
  void add(stream_id on, address from, address to, float by) {
    const add_number::arguments arguments{{from}, {to}, by};
    must(device.launch(on, 0, {{1}, 32, 0}, &arguments));
  }

  stream_id other;
  event_id event;
  global<const float> x;
  global<float> y, z;
};

/// How many of the seeds hold it.
template <class Holds>
std::uint32_t count_seeds(Holds holds) {
  std::uint32_t count = 0;
  for (std::uint32_t seed = 1; seed <= seeds; ++seed)
    count += holds(seed);
  return count;
}

bool chain_over_streams(std::uint32_t seed, bool with_event) {
  two_streams s(seed);
  s.add(s.stream, s.x.at, s.y.at, 1);
  if (with_event) {
    must(s.device.record(s.event, s.stream));
    must(s.device.wait(s.other, s.event));
  }
  s.add(s.other, s.y.at, s.z.at, 1);
  must(s.device.synchronize(s.other));
  return s.download(s.z, 32)[7] == 3.0f;
}

} // namespace

BOOST_AUTO_TEST_SUITE(shim_streams_suite)

BOOST_AUTO_TEST_CASE(an_event_orders_two_streams_and_without_it_some_order_is_wrong) {
  BOOST_TEST(count_seeds([](auto seed) { return chain_over_streams(seed, true); }) == seeds);
  BOOST_TEST(count_seeds([](auto seed) { return chain_over_streams(seed, false); }) < seeds);
}

BOOST_AUTO_TEST_CASE(a_copy_that_is_not_waited_for_has_not_come_for_some_seed) {
  const auto reads = [](bool waits) {
    return count_seeds([=](std::uint32_t seed) {
      two_streams s(seed);
      const auto pinned = must(s.device.allocate_pinned(128));
      auto* values = reinterpret_cast<float*>(pinned);
      values[7] = 0;
      s.add(s.stream, s.x.at, s.y.at, 1);
      must(s.device.copy(s.stream, pinned, s.y.at, 128));
      if (waits)
        must(s.device.synchronize(s.stream));
      const bool right = values[7] == 2.0f;
      must(s.device.synchronize(s.stream));
      return right;
    });
  };
  BOOST_TEST(reads(true) == seeds);
  BOOST_TEST(reads(false) < seeds);
}

BOOST_AUTO_TEST_CASE(pinned_memory_that_is_changed_before_its_copy_has_run_is_copied_changed) {
  const auto changed_too_early = count_seeds([](std::uint32_t seed) {
    two_streams s(seed);
    const auto pinned = must(s.device.allocate_pinned(128));
    auto* values = reinterpret_cast<float*>(pinned);
    std::fill(values, values + 32, 5.0f);
    must(s.device.copy(s.stream, s.y.at, pinned, 128));
    std::fill(values, values + 32, 6.0f); // A bug.
    return s.download(s.y, 32)[7] == 6.0f;
  });
  BOOST_TEST(changed_too_early > 0u);
}

BOOST_AUTO_TEST_CASE(a_graph_does_what_was_captured_each_time_that_it_is_launched_and_nothing_before) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    two_streams s(seed);
    must(s.device.begin_capture(s.stream));
    s.add(s.stream, s.y.at, s.y.at, 1);
    must(s.device.record(s.event, s.stream));
    must(s.device.wait(s.other, s.event)); // Joins.
    s.add(s.other, s.z.at, s.z.at, 10);
    const auto joined = must(s.device.make_event());
    must(s.device.record(joined, s.other));
    s.add(s.stream, s.y.at, s.y.at, 1);
    must(s.device.wait(s.stream, joined));
    s.add(s.stream, s.z.at, s.z.at, 100);
    const auto graph = must(s.device.end_capture(s.stream));
    BOOST_TEST(s.download(s.y, 32)[7] == 0.0f);
    for (int i = 0; i < 3; ++i)
      must(s.device.launch(s.stream, graph));
    BOOST_TEST(s.download(s.y, 32)[7] == 6.0f);
    BOOST_TEST(s.download(s.z, 32)[7] == 330.0f);
  }
}

BOOST_AUTO_TEST_CASE(a_capture_with_a_stream_that_was_not_waited_for_is_an_error) {
  two_streams s(1);
  must(s.device.begin_capture(s.stream));
  s.add(s.stream, s.y.at, s.y.at, 1);
  must(s.device.record(s.event, s.stream));
  must(s.device.wait(s.other, s.event));
  s.add(s.other, s.z.at, s.z.at, 10);
  BOOST_TEST((s.device.end_capture(s.stream).error().code == errc::invalid_argument));
  BOOST_TEST((s.device.end_capture(s.stream).error().code == errc::invalid_argument));
  s.add(s.other, s.z.at, s.z.at, 1); // Runs again.
  must(s.device.synchronize(s.other));
  BOOST_TEST(s.download(s.z, 32)[7] == 1.0f);
}

BOOST_AUTO_TEST_CASE(an_event_that_was_recorded_again_is_waited_for_as_it_was) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    two_streams s(seed);
    must(s.device.wait(s.other, s.event)); // Never recorded: nothing to wait for.
    must(s.device.record(s.event, s.stream));
    must(s.device.synchronize(s.event));
    BOOST_TEST(must(s.device.is_done(s.event)));
    must(s.device.wait(s.stream, s.event));
    s.add(s.stream, s.x.at, s.y.at, 1);
    must(s.device.record(s.event, s.stream));
    must(s.device.synchronize(s.event));
    BOOST_TEST(s.download(s.y, 32)[7] == 2.0f);
  }
}

BOOST_AUTO_TEST_CASE(an_event_that_is_recorded_on_another_stream_stands_for_that_one_from_then_on) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    two_streams s(seed);
    s.add(s.stream, s.x.at, s.y.at, 1);
    must(s.device.record(s.event, s.stream));
    const auto third = must(s.device.make_stream());
    must(s.device.wait(third, s.event)); // For the first stream's work, whatever is recorded later.
    must(s.device.record(s.event, s.other));
    must(s.device.synchronize(s.event));
    s.add(third, s.y.at, s.z.at, 1);
    must(s.device.synchronize(third));
    BOOST_TEST(s.download(s.z, 32)[7] == 3.0f);
  }
}

BOOST_AUTO_TEST_CASE(after_a_violation_everything_is_refused_with_what_it_was) {
  two_streams s(1);
  s.add(s.stream, s.x.at + 64, s.y.at, 1);
  const auto told = s.device.synchronize(s.stream);
  BOOST_REQUIRE(!told);
  BOOST_TEST(told.error().message.find("kernel add_number: block 0, 0, 0, thread ") != std::string::npos,
             told.error().message);
  BOOST_TEST(told.error().message.find("out of bounds: 4 bytes are read at byte 128 of 128") != std::string::npos);
  BOOST_TEST(s.device.allocate(16).error().message == told.error().message);
  BOOST_TEST(s.device.make_stream().error().message == told.error().message);
}

BOOST_AUTO_TEST_SUITE_END()
