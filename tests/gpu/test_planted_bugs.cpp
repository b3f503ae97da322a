// The shim itself: what is right passes for each seed, and each kind of bug is found within 20.
#include "tests/gpu/planted_kernels.hpp"
#include "tests/gpu/planted_runs.hpp"

#include <cmath>
#include <numeric>

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using shim::violation_kind;

namespace {

template <bug Bug>
outcome run_block_sums(std::uint32_t seed) {
  using kernel = block_sums<Bug>;
  shim_fixture<kernel> fixture(seed);
  constexpr std::uint32_t blocks = 3, count = 200;
  const auto x = numbers(blocks * count);
  const auto y = fixture.template space<float>(blocks);
  std::vector<float> wanted(blocks);
  for (std::uint32_t i = 0; i < blocks; ++i)
    wanted[i] = std::accumulate(x.begin() + i * count, x.begin() + (i + 1) * count, 0.0f);
  const auto bytes = Bug == bug::too_little_shared_memory ? kernel::shared_bytes - 16 : kernel::shared_bytes;
  fixture.template launch<kernel>({fixture.upload(x), y, count}, {blocks}, 128, bytes);
  return compare(fixture, fixture.download(y, blocks), wanted);
}

template <bug Bug>
outcome run_matrix_tile(std::uint32_t seed) {
  using kernel = matrix_tile<Bug>;
  shim_fixture<kernel> fixture(seed);
  std::vector<bf16> a(16 * 16), b(8 * 16);
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = to_bf16(static_cast<float>(i * 7 % 23) - 11.0f);
  for (std::size_t i = 0; i < b.size(); ++i)
    b[i] = to_bf16(static_cast<float>(i * 5 % 17) - 8.0f);
  std::vector<float> wanted(16 * 8);
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 8; ++n)
      for (std::size_t k = 0; k < 16; ++k)
        wanted[m * 8 + n] += to_float(a[m * 16 + k]) * to_float(b[n * 16 + k]);
  const auto d = fixture.template space<float>(16 * 8);
  fixture.template launch<kernel>({fixture.upload(a), fixture.upload(b), d}, {1}, 32, kernel::shared_bytes);
  return compare(fixture, fixture.download(d, wanted.size()), wanted);
}

template <bug Bug>
outcome run_paged_gather(std::uint32_t seed) {
  using kernel = paged_gather<Bug>;
  shim_fixture<kernel> fixture(seed);
  constexpr std::uint32_t rows = 12;
  const std::vector<std::uint32_t> table = {3, 0, 2};
  const auto pages = numbers(4 * kernel::block_rows * kernel::width);
  std::vector<float> wanted;
  for (std::uint32_t row = 0; row < rows; ++row)
    for (std::uint32_t i = 0; i < kernel::width; ++i)
      wanted.push_back(
        pages[(table[row / kernel::block_rows] * kernel::block_rows + row % kernel::block_rows) * kernel::width + i]);
  const auto out = fixture.template space<float>(wanted.size());
  fixture.template launch<kernel>({fixture.upload(pages), fixture.upload(table), out, rows}, {rows}, 32);
  return compare(fixture, fixture.download(out, wanted.size()), wanted);
}

template <bug Bug>
outcome run_split_sum(std::uint32_t seed) {
  using kernel = split_sum<Bug>;
  shim_fixture<kernel> fixture(seed);
  const auto x = numbers(400);
  const auto y = fixture.template space<float>(1);
  typename kernel::arguments arguments{fixture.upload(x), fixture.template space<float>(kernel::splits), y, 400, 0};
  fixture.template launch<kernel>(arguments, {kernel::splits}, 32);
  arguments.combine = 1;
  fixture.template launch<kernel>(arguments, {1}, 32);
  return compare(fixture, fixture.download(y, 1), {std::accumulate(x.begin(), x.end(), 0.0f)});
}

template <bug Bug>
outcome run_count_and_swap(std::uint32_t seed) {
  using kernel = count_and_swap<Bug>;
  shim_fixture<kernel> fixture(seed);
  const auto x = numbers(64);
  std::vector<float> wanted(64);
  for (std::size_t i = 0; i < 64; ++i)
    wanted[i] = x[i ^ 1];
  wanted.push_back(static_cast<float>(std::count_if(x.begin(), x.end(), [](float v) { return v > 3.0f; })));
  const auto y = fixture.template space<float>(64);
  const global<std::uint32_t> over = fixture.template space<std::uint32_t>(1);
  must(fixture.device.fill(fixture.stream, over.at, 0, 4));
  fixture.template launch<kernel>({fixture.upload(x), y, over, 3.0f}, {1}, 64, kernel::shared_bytes);
  auto got = fixture.download(y, 64);
  for (const auto count : fixture.download(over, 1))
    got.push_back(static_cast<float>(count));
  return compare(fixture, got, wanted);
}

} // namespace

#define EXPECT_FOUND(run, planted, kind) expect_found(#planted, run<bug::planted>, kind)

BOOST_AUTO_TEST_SUITE(planted_bugs_suite)

BOOST_AUTO_TEST_CASE(what_is_right_is_right_for_every_seed) {
  expect_right("block_sums", run_block_sums<bug::none>);
  expect_right("matrix_tile", run_matrix_tile<bug::none>);
  expect_right("paged_gather", run_paged_gather<bug::none>);
  expect_right("split_sum", run_split_sum<bug::none>);
  expect_right("count_and_swap", run_count_and_swap<bug::none>);
}

BOOST_AUTO_TEST_CASE(a_missing_barrier_is_a_race) {
  EXPECT_FOUND(run_block_sums, missing_barrier, violation_kind::race);
  EXPECT_FOUND(run_block_sums, missing_second_barrier, violation_kind::race);
  EXPECT_FOUND(run_count_and_swap, missing_warp_barrier, violation_kind::race);
  EXPECT_FOUND(run_count_and_swap, plain_add_for_atomic, violation_kind::race);
  EXPECT_FOUND(run_count_and_swap, sum_read_too_early, violation_kind::race);
  // Whoever comes first there reads what the others' copies have not written yet.
  EXPECT_FOUND(run_matrix_tile, copy_without_barrier, violation_kind::uninitialised_read);
}

BOOST_AUTO_TEST_CASE(a_wrong_lane_or_row_of_a_fragment_gives_wrong_numbers) {
  EXPECT_FOUND(run_matrix_tile, wrong_fragment_lane, std::nullopt);
  EXPECT_FOUND(run_matrix_tile, wrong_matrix_row, std::nullopt);
}

BOOST_AUTO_TEST_CASE(a_block_table_that_is_read_off_by_one_is_wrong_or_out_of_bounds) {
  EXPECT_FOUND(run_paged_gather, block_table_off_by_one, violation_kind::out_of_bounds);
}

BOOST_AUTO_TEST_CASE(a_split_that_is_missing_was_never_written) {
  EXPECT_FOUND(run_split_sum, missing_split, violation_kind::uninitialised_read);
}

BOOST_AUTO_TEST_CASE(an_asynchronous_copy_comes_when_it_is_waited_for) {
  EXPECT_FOUND(run_matrix_tile, copy_not_waited_for, violation_kind::race); // Others' copies, mostly.
  EXPECT_FOUND(run_matrix_tile, copy_never_waited_for, violation_kind::unfinished_copy);
}

BOOST_AUTO_TEST_CASE(what_not_all_come_to_is_divergence) {
  EXPECT_FOUND(run_block_sums, barrier_for_some, violation_kind::divergence);
  EXPECT_FOUND(run_block_sums, shuffle_for_some, violation_kind::divergence);
}

BOOST_AUTO_TEST_CASE(an_access_outside_of_an_array_is_found) {
  EXPECT_FOUND(run_block_sums, past_the_end, violation_kind::out_of_bounds);
  EXPECT_FOUND(run_block_sums, past_the_array, violation_kind::out_of_bounds);
  EXPECT_FOUND(run_block_sums, too_little_shared_memory, violation_kind::out_of_bounds);
}

BOOST_AUTO_TEST_CASE(a_vector_at_an_odd_address_is_misaligned) {
  EXPECT_FOUND(run_paged_gather, misaligned_vector, violation_kind::misaligned);
}

BOOST_AUTO_TEST_CASE(shared_memory_that_nobody_has_written_is_not_zero) {
  EXPECT_FOUND(run_count_and_swap, unwritten_shared_memory, violation_kind::uninitialised_read);
}

BOOST_AUTO_TEST_SUITE_END()
