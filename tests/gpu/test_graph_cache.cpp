// Which graphs stay, and that those which go give their memory back.
#include <boost/test/unit_test.hpp>

#include "gpu/backend/graph_cache.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"

using namespace troupe;
using namespace troupe::gpu;

namespace {

constexpr std::size_t graph_bytes = 1000;

struct cached_graphs {
  shim::shim_runtime device{shim_kernels(), {.memory_bytes = 100 * graph_bytes, .graph_bytes = graph_bytes}};
  stream_id stream = *device.make_stream();
  graph_cache cache;

  explicit cached_graphs(const graph_limits& limits) : cache(limits) {}

  void make(std::uint32_t rows, std::uint64_t bytes = graph_bytes) {
    BOOST_REQUIRE(cache.make_room(device));
    BOOST_REQUIRE(device.begin_capture(stream));
    const auto made = device.end_capture(stream);
    BOOST_REQUIRE(made);
    cache.add({rows, 256}, *made, bytes);
  }
  bool has(std::uint32_t rows) { return cache.find({rows, 256}).has_value(); }
  std::size_t on_device() { return 100 - device.memory()->free_bytes / graph_bytes; }
};

} // namespace

BOOST_AUTO_TEST_SUITE(graphs_that_are_kept)

BOOST_AUTO_TEST_CASE(the_graph_that_was_not_used_for_longest_goes_first_and_gives_its_memory_back) {
  cached_graphs on({.graphs = 3});
  for (const std::uint32_t rows : {1u, 2u, 3u})
    on.make(rows);
  BOOST_TEST(on.has(1)); // Used again.
  on.make(4);
  BOOST_TEST(!on.has(2));
  BOOST_TEST((on.has(1) && on.has(3) && on.has(4)));
  BOOST_TEST(on.on_device() == 3u);
  on.make(5);
  BOOST_TEST(!on.has(1));
  BOOST_TEST(on.cache.size() == 3u);
  BOOST_TEST(on.on_device() == 3u);
}

BOOST_AUTO_TEST_CASE(graphs_have_no_more_bytes_than_their_limit) {
  cached_graphs on({.bytes = 2500});
  for (std::uint32_t rows = 1; rows < 9; ++rows) {
    on.make(rows);
    BOOST_TEST(on.cache.bytes() <= 2500u);
    BOOST_TEST(on.on_device() == on.cache.size());
  }
  BOOST_TEST(on.cache.size() == 2u);
  on.make(9, 9000); // More than the limit by itself: it is there, and the next one takes its place.
  BOOST_TEST(on.has(9));
  on.make(10);
  BOOST_TEST(on.cache.size() == 1u);
}

BOOST_AUTO_TEST_CASE(after_a_want_of_memory_there_are_never_more_again) {
  cached_graphs on({});
  for (const std::uint32_t rows : {1u, 2u, 3u})
    on.make(rows);
  BOOST_TEST(*on.cache.shrink(on.device));
  BOOST_TEST(!on.has(1));
  for (const std::uint32_t rows : {4u, 5u, 6u})
    on.make(rows);
  BOOST_TEST(on.cache.size() == 3u);
  cached_graphs none({});
  BOOST_TEST(!*none.cache.shrink(none.device));
}

BOOST_AUTO_TEST_CASE(a_shape_wants_a_graph_when_it_comes_for_the_second_time) {
  cached_graphs on({});
  BOOST_TEST(!on.cache.comes_again({1, 256}));
  BOOST_TEST(!on.cache.comes_again({2, 256}));
  BOOST_TEST(on.cache.comes_again({1, 256}));
}

BOOST_AUTO_TEST_CASE(a_graph_that_was_freed_is_none) {
  cached_graphs on({});
  BOOST_REQUIRE(on.device.begin_capture(on.stream));
  const auto graph = on.device.end_capture(on.stream);
  BOOST_REQUIRE(graph);
  BOOST_REQUIRE(on.device.launch(on.stream, *graph));
  BOOST_REQUIRE(on.device.free(*graph));
  BOOST_TEST((on.device.launch(on.stream, *graph).error().code == errc::invalid_argument));
  BOOST_TEST((on.device.free(*graph).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_SUITE_END()
