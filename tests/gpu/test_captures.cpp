// Captures and graphs of the shim: what a graph does, and CUDA's rules of what may be while one is made.
#include "tests/gpu/two_streams.hpp"

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

/// While a capture is under way: `s.event` was recorded in it, `outside` before it.
struct captured_streams : two_streams {
  event_id outside;

  captured_streams() : two_streams(1), outside(must(device.make_event())) {
    must(device.record(outside, other));
    must(device.begin_capture(stream));
    add(stream, y.at, y.at, 1);
    must(device.record(event, stream));
  }
};

template <class Result>
bool is_refused(const Result& result) {
  return !result && result.error().code == errc::invalid_argument;
}

/// The call is refused, the captured streams can do nothing more, the capture's end fails, and the next one is whole.
template <class Call>
void expect_broken(const char* what, Call call) {
  captured_streams s;
  BOOST_TEST(is_refused(call(s)), what);
  BOOST_TEST(is_refused(s.device.fill(s.stream, s.z.at, 1, 4)), what);
  BOOST_TEST(is_refused(s.device.record(s.event, s.stream)), what);
  BOOST_TEST(is_refused(s.device.wait(s.other, s.event)), what);
  BOOST_TEST(is_refused(s.device.end_capture(s.stream)), what);
  must(s.device.begin_capture(s.stream));
  s.add(s.stream, s.y.at, s.y.at, 5);
  const auto graph = must(s.device.end_capture(s.stream));
  must(s.device.launch(s.stream, graph));
  BOOST_TEST(s.download(s.y, 32)[7] == 5.0f, what);
}

} // namespace

BOOST_AUTO_TEST_SUITE(shim_captures_suite)

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

BOOST_AUTO_TEST_CASE(what_may_not_be_during_a_capture_is_refused_and_breaks_it) {
  using streams = captured_streams;
  expect_broken("waiting for the captured stream", [](streams& s) { return s.device.synchronize(s.stream); });
  expect_broken("waiting for another stream", [](streams& s) { return s.device.synchronize(s.other); });
  expect_broken("waiting for a captured event", [](streams& s) { return s.device.synchronize(s.event); });
  expect_broken("asking for a captured event", [](streams& s) { return s.device.is_done(s.event); });
  expect_broken("asking for another event", [](streams& s) { return s.device.is_done(s.outside); });
  expect_broken("a captured wait for work of before", [](streams& s) { return s.device.wait(s.stream, s.outside); });
  expect_broken("a captured wait for other work", [](streams& s) {
    must(s.device.record(s.outside, s.other));
    return s.device.wait(s.stream, s.outside);
  });
  expect_broken("memory allocated", [](streams& s) { return s.device.allocate(16); });
  expect_broken("memory pinned", [](streams& s) { return s.device.allocate_pinned(16); });
  expect_broken("memory freed", [](streams& s) { return s.device.free(s.z.at); });
  expect_broken("pinned memory freed", [](streams& s) { return s.device.free_pinned(s.z.at); });
  expect_broken("ended on a stream that has joined", [](streams& s) {
    must(s.device.wait(s.other, s.event));
    return s.device.end_capture(s.other);
  });
}

BOOST_AUTO_TEST_CASE(a_graph_is_no_part_of_another) {
  two_streams s(1);
  must(s.device.begin_capture(s.stream));
  s.add(s.stream, s.y.at, s.y.at, 1);
  const auto graph = must(s.device.end_capture(s.stream));
  must(s.device.begin_capture(s.stream));
  BOOST_TEST(is_refused(s.device.launch(s.stream, graph)));
  must(s.device.launch(s.other, graph)); // Not captured: it runs.
  BOOST_TEST(is_refused(s.device.end_capture(s.stream)));
  must(s.device.synchronize(s.other));
  BOOST_TEST(s.download(s.y, 32)[7] == 1.0f);
}

BOOST_AUTO_TEST_CASE(there_is_one_capture_and_it_ends_where_it_began) {
  captured_streams s;
  BOOST_TEST(is_refused(s.device.begin_capture(s.other)));
  BOOST_TEST(is_refused(s.device.begin_capture(s.stream)));
  BOOST_TEST(is_refused(s.device.end_capture(s.other))); // Not captured: nothing is broken.
  must(s.device.end_capture(s.stream));
  BOOST_TEST(is_refused(s.device.end_capture(s.stream)));
}

BOOST_AUTO_TEST_CASE(an_event_of_a_capture_stands_for_nothing_behind_its_end) {
  captured_streams s;
  must(s.device.end_capture(s.stream));
  BOOST_TEST(is_refused(s.device.wait(s.other, s.event)));
  BOOST_TEST(is_refused(s.device.is_done(s.event)));
  BOOST_TEST(is_refused(s.device.synchronize(s.event)));
  must(s.device.begin_capture(s.stream));
  BOOST_TEST(is_refused(s.device.wait(s.stream, s.event))); // Another capture's.
  BOOST_TEST(is_refused(s.device.end_capture(s.stream)));
  must(s.device.record(s.event, s.other));
  must(s.device.wait(s.stream, s.event));
  must(s.device.synchronize(s.event));
  BOOST_TEST(must(s.device.is_done(s.event)));
}

BOOST_AUTO_TEST_CASE(a_graph_whose_memory_was_freed_is_not_launched) {
  const auto launched_after = [](auto queue) {
    two_streams s(1);
    const auto more = s.space<float>(32);
    const auto pinned = must(s.device.allocate_pinned(128));
    must(s.device.fill(s.stream, more.at, 0, 128));
    must(s.device.begin_capture(s.stream));
    queue(s, more.at, pinned);
    const auto graph = must(s.device.end_capture(s.stream));
    std::memset(reinterpret_cast<void*>(pinned), 0, 128);
    must(s.device.launch(s.stream, graph));
    must(s.device.free(more.at));
    must(s.device.free_pinned(pinned));
    const auto again = s.device.launch(s.stream, graph);
    BOOST_TEST(s.download(s.y, 32)[0] == 0.0f); // The device is not lost.
    return static_cast<bool>(again);
  };
  BOOST_TEST(!launched_after([](auto& s, address more, address) { s.add(s.stream, more, s.z.at, 1); }));
  BOOST_TEST(!launched_after([](auto& s, address more, address) { must(s.device.fill(s.stream, more, 1, 4)); }));
  BOOST_TEST(
    !launched_after([](auto& s, address, address pinned) { must(s.device.copy(s.stream, s.z.at, pinned, 128)); }));
  BOOST_TEST(launched_after([](auto& s, address, address) { s.add(s.stream, s.y.at, s.z.at, 1); }));
}

BOOST_AUTO_TEST_CASE(an_id_that_nobody_made_is_an_invalid_argument) {
  two_streams s(1);
  constexpr auto stream = stream_id{77};
  constexpr auto event = event_id{77};
  const add_number::arguments arguments{s.x, s.y, 1};
  BOOST_TEST(is_refused(s.device.launch(stream, 0, {{1}, 32, 0}, &arguments)));
  BOOST_TEST(is_refused(s.device.launch(s.stream, 77, {{1}, 32, 0}, &arguments)));
  BOOST_TEST(is_refused(s.device.copy(stream, s.y.at, s.x.at, 4)));
  BOOST_TEST(is_refused(s.device.fill(stream, s.y.at, 0, 4)));
  BOOST_TEST(is_refused(s.device.record(event, s.stream)));
  BOOST_TEST(is_refused(s.device.record(s.event, stream)));
  BOOST_TEST(is_refused(s.device.wait(stream, s.event)));
  BOOST_TEST(is_refused(s.device.wait(s.stream, event)));
  BOOST_TEST(is_refused(s.device.is_done(event)));
  BOOST_TEST(is_refused(s.device.synchronize(event)));
  BOOST_TEST(is_refused(s.device.synchronize(stream)));
  BOOST_TEST(is_refused(s.device.begin_capture(stream)));
  BOOST_TEST(is_refused(s.device.end_capture(stream)));
  BOOST_TEST(is_refused(s.device.launch(stream, graph_id{0})));
  BOOST_TEST(is_refused(s.device.launch(s.stream, graph_id{0})));
  BOOST_TEST(!s.device.lost_by());
}

BOOST_AUTO_TEST_SUITE_END()
