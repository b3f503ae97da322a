// What the shim knows of order: between threads, between blocks, and of copies that come by themselves.
#include "tests/gpu/planted_orders.hpp"
#include "tests/gpu/planted_runs.hpp"

#include <numeric>

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using shim::violation_kind;

namespace {

template <disorder Bug>
outcome run_tile_pipeline(std::uint32_t seed) {
  using kernel = tile_pipeline<Bug>;
  shim_fixture<kernel> fixture(seed);
  constexpr std::uint32_t tiles = 5;
  const auto x = numbers(tiles * kernel::width);
  std::vector<float> wanted(kernel::width);
  for (std::size_t i = 0; i < x.size(); ++i)
    wanted[kernel::width - 1 - i % kernel::width] += x[i];
  const auto y = fixture.template space<float>(kernel::width);
  fixture.template launch<kernel>({fixture.upload(x), y, tiles}, {1}, kernel::max_threads, kernel::shared_bytes);
  return compare(fixture, fixture.download(y, wanted.size()), wanted);
}

template <disorder Bug>
outcome run_swap_in_memory(std::uint32_t seed) {
  using kernel = swap_in_memory<Bug>;
  shim_fixture<kernel> fixture(seed);
  std::vector<bf16> x(3 * 64);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i].bits = static_cast<std::uint16_t>(i);
  const auto between = fixture.template space<bf16>(x.size()), y = fixture.template space<bf16>(x.size());
  must(fixture.device.fill(fixture.stream, between.at, 0, x.size() * 2));
  fixture.template launch<kernel>({fixture.upload(x), between, y}, {3}, 64);
  std::vector<std::uint16_t> got, wanted;
  for (const auto each : fixture.download(y, x.size()))
    got.push_back(each.bits);
  for (std::size_t i = 0; i < x.size(); ++i)
    wanted.push_back(x[i ^ 1].bits);
  return compare(fixture, got, wanted);
}

template <disorder Bug>
outcome run_last_block_sum(std::uint32_t seed) {
  using kernel = last_block_sum<Bug>;
  shim_fixture<kernel> fixture(seed);
  constexpr std::uint32_t blocks = 5;
  const auto x = numbers(blocks * 64);
  const auto y = fixture.template space<float>(1);
  const global<std::uint32_t> arrived = fixture.template space<std::uint32_t>(1);
  must(fixture.device.fill(fixture.stream, arrived.at, 0, 4));
  const typename kernel::arguments arguments{fixture.upload(x), fixture.template space<float>(x.size()), y, arrived};
  for (int again = 0; again < 2; ++again)
    fixture.template launch<kernel>(arguments, {blocks}, 64, kernel::shared_bytes);
  return compare(fixture, fixture.download(y, 1), {2 * std::accumulate(x.begin(), x.end(), 0.0f)});
}

template <disorder Bug>
outcome run_meet_and_add(std::uint32_t seed) {
  using kernel = meet_and_add<Bug>;
  shim_fixture<kernel> fixture(seed);
  const auto x = numbers(64);
  std::vector<float> wanted;
  for (std::size_t i = 0; i < 64; ++i)
    wanted.push_back(x[i ^ 1] + x[i ^ 32]);
  const auto y = fixture.template space<float>(64);
  fixture.template launch<kernel>({fixture.upload(x), y}, {1}, 64, kernel::shared_bytes);
  return compare(fixture, fixture.download(y, 64), wanted);
}

} // namespace

#define EXPECT_FOUND(run, planted, kind) expect_found(#planted, run<disorder::planted>, violation_kind::kind)

BOOST_AUTO_TEST_SUITE(planted_orders_suite)

BOOST_AUTO_TEST_CASE(what_is_ordered_is_right_for_every_seed) {
  expect_right("tile_pipeline", run_tile_pipeline<disorder::none>);
  expect_right("swap_in_memory", run_swap_in_memory<disorder::none>);
  expect_right("last_block_sum", run_last_block_sum<disorder::none>);
  expect_right("meet_and_add", run_meet_and_add<disorder::none>);
}

BOOST_AUTO_TEST_CASE(an_asynchronous_copy_s_bytes_are_nobody_s_from_its_beginning_to_its_wait) {
  EXPECT_FOUND(run_tile_pipeline, prefetch_before_others_have_read, race);
  EXPECT_FOUND(run_tile_pipeline, own_copy_read_before_wait, unfinished_copy);
  // Whoever comes first reads what the others' copies have not begun to write.
  EXPECT_FOUND(run_tile_pipeline, others_copies_read_before_barrier, uninitialised_read);
}

BOOST_AUTO_TEST_CASE(threads_of_a_block_share_device_memory_over_barriers_alone) {
  EXPECT_FOUND(run_swap_in_memory, missing_barrier, race);
  EXPECT_FOUND(run_swap_in_memory, barrier_of_other_warps, race);
  EXPECT_FOUND(run_swap_in_memory, bytes_of_a_neighbour, race);
}

BOOST_AUTO_TEST_CASE(blocks_of_a_launch_share_device_memory_over_atomics_and_fences_alone) {
  EXPECT_FOUND(run_swap_in_memory, block_reads_another_s, race);
  EXPECT_FOUND(run_swap_in_memory, blocks_write_the_same, race);
  EXPECT_FOUND(run_last_block_sum, no_fence_before_arrival, race);
  EXPECT_FOUND(run_last_block_sum, no_fence_after_arrival, race);
  EXPECT_FOUND(run_last_block_sum, counter_without_atomic, race);
  EXPECT_FOUND(run_last_block_sum, counter_reset_by_the_first, race);
}

BOOST_AUTO_TEST_CASE(a_thread_that_waits_in_a_loop_hangs) {
  EXPECT_FOUND(run_meet_and_add, waits_in_a_loop, hangs);
  EXPECT_FOUND(run_last_block_sum, waits_for_another_block, hangs);
}

BOOST_AUTO_TEST_CASE(threads_at_different_places_do_not_meet) {
  EXPECT_FOUND(run_meet_and_add, shuffles_at_two_places, divergence);
  EXPECT_FOUND(run_meet_and_add, shuffles_of_two_sizes, divergence);
  EXPECT_FOUND(run_meet_and_add, barriers_at_two_places, divergence);
}

BOOST_AUTO_TEST_SUITE_END()
