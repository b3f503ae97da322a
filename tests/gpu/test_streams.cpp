// Streams and events of the shim, and copies: what must be so is so for every seed, and what a program forgets is found by one of a few.
#include "tests/gpu/two_streams.hpp"

#include <cstdlib>

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using shim::violation_kind;

namespace {

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

BOOST_AUTO_TEST_CASE(pinned_memory_that_the_host_changes_under_a_queued_copy_is_found) {
  const auto right = [](bool waits) {
    return count_seeds([=](std::uint32_t seed) {
      two_streams s(seed);
      const auto pinned = must(s.device.allocate_pinned(128));
      auto* values = reinterpret_cast<float*>(pinned);
      std::fill(values, values + 32, 5.0f);
      must(s.device.copy(s.stream, s.y.at, pinned, 128));
      if (waits)
        must(s.device.synchronize(s.stream));
      std::fill(values, values + 32, 6.0f);
      static_cast<void>(s.device.synchronize(s.stream));
      if (const auto& why = s.device.lost_by())
        BOOST_TEST((why->kind() == violation_kind::host_change), why->what());
      return !s.device.lost_by();
    });
  };
  BOOST_TEST(right(true) == seeds);
  BOOST_TEST(right(false) < seeds);
}

BOOST_AUTO_TEST_CASE(pinned_memory_that_the_device_changes_between_its_copies_is_no_violation) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    two_streams s(seed);
    const auto pinned = must(s.device.allocate_pinned(128));
    std::memset(reinterpret_cast<void*>(pinned), 0, 128);
    must(s.device.copy(s.stream, pinned, s.x.at, 128));
    must(s.device.copy(s.stream, s.y.at, pinned, 128));
    BOOST_TEST(s.download(s.y, 32)[7] == 1.0f);
  }
}

BOOST_AUTO_TEST_CASE(a_graph_s_copies_take_what_pinned_memory_has_at_each_launch) {
  const auto right = [](bool waits) {
    return count_seeds([=](std::uint32_t seed) {
      two_streams s(seed);
      const auto pinned = must(s.device.allocate_pinned(128));
      auto* values = reinterpret_cast<float*>(pinned);
      must(s.device.begin_capture(s.stream));
      must(s.device.copy(s.stream, s.y.at, pinned, 128));
      s.add(s.stream, s.y.at, s.y.at, 1);
      const auto graph = must(s.device.end_capture(s.stream));
      bool all_right = true;
      for (const float each : {3.0f, 4.0f, 5.0f}) {
        std::fill(values, values + 32, each);
        const bool launched = static_cast<bool>(s.device.launch(s.stream, graph));
        if (waits)
          all_right = all_right && s.download(s.y, 32)[7] == each + 1;
        all_right = all_right && launched;
      }
      static_cast<void>(s.device.synchronize(s.stream));
      return all_right && !s.device.lost_by();
    });
  };
  BOOST_TEST(right(true) == seeds);
  BOOST_TEST(right(false) < seeds);
}

BOOST_AUTO_TEST_CASE(a_copy_to_where_it_comes_from_is_found) {
  for (const int by : {-64, 0, 64}) {
    two_streams s(1);
    BOOST_TEST(!s.device.copy(s.stream, s.x.at + 64 + by, s.x.at + 64, by == 0 ? 4 : 65));
    BOOST_REQUIRE(s.device.lost_by());
    BOOST_TEST((s.device.lost_by()->kind() == violation_kind::overlap));
  }
  two_streams s(1);
  must(s.device.copy(s.stream, s.y.at, s.x.at, 64));
  must(s.device.copy(s.stream, s.y.at + 64, s.y.at, 64)); // Side by side.
  BOOST_TEST(s.download(s.y, 32)[20] == 1.0f);
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
