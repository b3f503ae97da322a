#include "tests/gpu/kernel_fixture.hpp"

#include <cmath>
#include <numeric>

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

/// A prompt whose keys and values are all in the cache, in blocks in any order.
template <unsigned HeadSize>
struct prompt : kernel_fixture {
  using kernel = prefill_attention<HeadSize>;
  static constexpr std::uint32_t heads = 3, kv_heads = 1;
  kv_layout layout{kv_heads, HeadSize};
  std::uint32_t length;
  std::vector<std::uint32_t> table;
  std::vector<bf16> query, cache;
  double query_over = 0, cache_over = 0; ///< Of the last run: what blocks have read over what they must.

  prompt(std::uint32_t seed, std::uint32_t positions) : kernel_fixture(seed), length(positions) {
    table.resize((length + positions_per_block - 1) / positions_per_block);
    std::iota(table.begin(), table.end(), 0u);
    std::shuffle(table.begin(), table.end(), random);
    query = brain_floats(length * heads * HeadSize);
    cache = brain_floats(table.size() * positions_per_block * 2 * kv_heads * HeadSize);
  }

  /// Positions from `first` on, as one chunk; keys and values behind it are not there yet.
  std::vector<bf16> run(std::uint32_t first, std::uint32_t rows) {
    auto there = space<bf16>(cache.size());
    device.count_apart(there.at, cache.size() * sizeof(bf16));
    const auto all = upload(cache);
    for (std::uint32_t p = 0; p < first + rows; ++p)
      for (unsigned which : {0u, 1u}) {
        const auto at = layout.at(table[p / positions_per_block], 0, which, p) * sizeof(bf16);
        must(device.copy(stream, there.at + at, all.at + at, HeadSize * sizeof(bf16)));
      }
    std::vector<std::uint32_t> tiles;
    for (std::uint32_t row = 0; row < rows; row += kernel::most_rows)
      for (const auto word : {row, std::min(rows - row, kernel::most_rows), first + row, 0u})
        tiles.push_back(word);
    const auto attended = space<bf16>(rows * heads * HeadSize);
    const std::vector<bf16> own(query.begin() + first * heads * HeadSize,
                                query.begin() + (first + rows) * heads * HeadSize);
    const auto own_there = upload_counted(own);
    launch<kernel>({own_there, there, upload(table), upload(tiles), attended, heads, kv_heads,
                    1 / std::sqrt(static_cast<float>(HeadSize))},
                   {static_cast<std::uint32_t>(tiles.size() / 4), heads}, kernel::max_threads, kernel::shared_bytes);
    query_over = read_over(own_there, own.size() * sizeof(bf16));
    std::size_t positions = 0; // That blocks of a head need.
    for (std::uint32_t row = 0; row < rows; row += kernel::most_rows)
      positions += first + std::min(rows, row + kernel::most_rows);
    cache_over = read_over(global<const bf16>(there), positions * heads * 2 * HeadSize * sizeof(bf16));
    return download(attended, rows * heads * HeadSize);
  }

  std::vector<double> right(std::uint32_t first, std::uint32_t rows) const {
    std::vector<double> result;
    for (auto row = first; row < first + rows; ++row)
      for (std::uint32_t head = 0; head < heads; ++head) {
        std::vector<double> shares, sums(HeadSize);
        for (std::uint32_t p = 0; p <= row; ++p) {
          double score = 0;
          for (std::uint32_t i = 0; i < HeadSize; ++i)
            score += static_cast<double>(to_float(query[(row * heads + head) * HeadSize + i])) * element(0, p, i);
          shares.push_back(std::exp(score / std::sqrt(static_cast<double>(HeadSize))));
        }
        const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
        for (std::uint32_t p = 0; p <= row; ++p)
          for (std::uint32_t i = 0; i < HeadSize; ++i)
            sums[i] += shares[p] / all * element(1, p, i);
        result.insert(result.end(), sums.begin(), sums.end());
      }
    return result;
  }

  double element(unsigned which, std::uint32_t position, std::uint32_t i) const {
    return to_float(cache[layout.at(table[position / positions_per_block], 0, which, position) + i]);
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(prefill_attention_suite)

BOOST_AUTO_TEST_CASE(each_row_attends_to_what_came_before_it_and_to_itself) {
  for (const std::uint32_t length : {1u, 16u, 34u, 64u, 65u, 150u}) {
    prompt<64> some(length, length);
    expect_close(some.run(0, length), some.right(0, length), 0.01);
  }
  prompt<128> wide(3, 70);
  expect_close(wide.run(0, 70), wide.right(0, 70), 0.01);
}

BOOST_AUTO_TEST_CASE(a_row_has_the_same_bits_however_its_prompt_is_cut) {
  prompt<64> some(7, 150);
  const auto whole = some.run(0, 150);
  const auto width = prompt<64>::heads * 64;
  for (const auto& [first, rows] : {std::pair{0u, 17u}, {17u, 64u}, {81u, 69u}, {149u, 1u}}) {
    const auto part = some.run(first, rows);
    expect_close(part, some.right(first, rows), 0.01);
    for (std::size_t i = 0; i < part.size(); ++i)
      BOOST_TEST(part[i].bits == whole[first * width + i].bits);
  }
}

BOOST_AUTO_TEST_CASE(each_block_reads_its_queries_and_the_keys_and_values_before_them_once) {
  prompt<64> some(9, 190);
  for (const auto& [first, rows] : {std::pair{0u, 190u}, {60u, 130u}, {189u, 1u}}) {
    some.run(first, rows);
    BOOST_TEST(some.query_over <= 1.0);
    BOOST_TEST(some.cache_over <= 1.0);
  }
}

BOOST_AUTO_TEST_CASE(no_two_rows_of_a_matrix_are_in_one_bank) {
  prompt<64> some(9, 128);
  some.run(0, 128);
  BOOST_TEST(some.device.last_launch().bank_conflicts == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
