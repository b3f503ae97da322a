#include "gpu/kernels/attention_kernels.hpp"
#include "tests/gpu/kernel_fixture.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

/// Positions of a prompt that are computed together.
struct chunk {
  std::uint32_t prompt, first, rows;
};

struct prompts_shape {
  std::uint32_t head_size, window = 0;
};

/// Prompts whose keys and values are all in the cache, in blocks in any order; their tables lie one after the other
/// behind some words that are no blocks.
struct prompts : kernel_fixture {
  static constexpr std::uint32_t kv_heads = 2, heads = 6, first_table = 3;
  prompts_shape shape;
  kv_layout layout;
  std::vector<std::uint32_t> lengths, blocks,
    tables;                            ///< Where each prompt's blocks begin in `blocks` and in the device's tables.
  std::vector<std::size_t> first_rows; ///< Of each prompt, in `query`.
  std::vector<bf16> query, cache;
  double query_over = 0, cache_over = 0; ///< Of the last launch: what blocks have read over what they must.
  std::size_t needed = 0;                ///< Bytes that the last launch had to move.

  prompts(std::uint32_t seed, prompts_shape of, std::vector<std::uint32_t> of_lengths)
      : kernel_fixture(seed), shape(of), layout{kv_heads, of.head_size}, lengths(std::move(of_lengths)) {
    std::size_t rows = 0;
    std::uint32_t count = 0;
    for (const auto length : lengths) {
      first_rows.push_back(rows);
      tables.push_back(count);
      rows += length;
      count += (length + positions_per_block - 1) / positions_per_block;
    }
    blocks.resize(count);
    std::iota(blocks.begin(), blocks.end(), 0u);
    std::shuffle(blocks.begin(), blocks.end(), random);
    query = brain_floats(rows * row_size());
    cache = brain_floats(std::size_t{count} * positions_per_block * 2 * kv_heads * shape.head_size);
  }

  std::size_t row_size() const { return std::size_t{heads} * shape.head_size; }
  std::uint32_t first_seen(std::uint32_t position) const {
    return shape.window != 0 && position >= shape.window ? position - shape.window + 1 : 0;
  }

  /// Some chunks in one launch. Only keys and values that they see are there, and blocks with such.
  std::vector<bf16> run(const std::vector<chunk>& chunks) {
    const auto there = space<bf16>(cache.size());
    const auto all = upload(cache);
    std::vector<std::uint32_t> table(first_table + blocks.size(), 0xffffff), tiles;
    std::vector<bf16> own;
    std::size_t positions = 0;
    for (const auto& [prompt, first, rows] : chunks) {
      for (auto p = first_seen(first); p < first + rows; ++p, ++positions) {
        const auto block = blocks[tables[prompt] + p / positions_per_block];
        table[first_table + tables[prompt] + p / positions_per_block] = block;
        for (std::uint32_t head = 0; head < kv_heads; ++head)
          for (unsigned which : {0u, 1u}) {
            const auto at = layout.at(block, head, which, p) * sizeof(bf16);
            must(device.copy(stream, there.at + at, all.at + at, shape.head_size * sizeof(bf16)));
          }
      }
      const auto before = static_cast<std::uint32_t>(own.size() / row_size());
      for (std::uint32_t row = 0; row < rows; row += prefill_attention<64>::most_rows)
        for (const auto word : {before + row, std::min(rows - row, prefill_attention<64>::most_rows), first + row,
                                first_table + tables[prompt]})
          tiles.push_back(word);
      const auto from = query.begin() + static_cast<std::ptrdiff_t>((first_rows[prompt] + first) * row_size());
      own.insert(own.end(), from, from + static_cast<std::ptrdiff_t>(rows * row_size()));
    }
    const auto attended = space<bf16>(own.size());
    const auto query_there = upload_counted(own);
    device.count_apart(there.at, cache.size() * sizeof(bf16));
    launch(plan_prefill_attention(shape.head_size, static_cast<std::uint32_t>(tiles.size() / 4), heads).value(),
           prefill_attention_arguments{query_there, there, upload(table), upload(tiles), attended, heads, kv_heads,
                                       shape.window, 1 / std::sqrt(static_cast<float>(shape.head_size))});
    std::size_t keys_and_values = 0;
    for (const auto& [prompt, first, rows] : chunks)
      for (std::uint32_t row = 0; row < rows; row += prefill_attention<64>::most_rows)
        keys_and_values += first + std::min(rows, row + prefill_attention<64>::most_rows) - first_seen(first + row);
    cache_over =
      read_over(global<const bf16>{there.at}, keys_and_values * heads * 2 * shape.head_size * sizeof(bf16));
    query_over = read_over(query_there, own.size() * sizeof(bf16));
    needed = own.size() * 2 * sizeof(bf16) + positions * kv_heads * 2 * shape.head_size * sizeof(bf16);
    return download(attended, own.size());
  }
  std::vector<bf16> run() {
    std::vector<chunk> all;
    for (std::uint32_t prompt = 0; prompt < lengths.size(); ++prompt)
      all.push_back({prompt, 0, lengths[prompt]});
    return run(all);
  }

  std::vector<double> right(std::uint32_t prompt, std::uint32_t first, std::uint32_t rows) const {
    std::vector<double> result;
    for (auto row = first; row < first + rows; ++row)
      for (std::uint32_t head = 0; head < heads; ++head) {
        std::vector<double> shares, sums(shape.head_size);
        for (auto p = first_seen(row); p <= row; ++p) {
          double score = 0;
          for (std::uint32_t i = 0; i < shape.head_size; ++i)
            score += static_cast<double>(
                       to_float(query[(first_rows[prompt] + row) * row_size() + head * shape.head_size + i])) *
                     element(prompt, head, 0, p, i);
          shares.push_back(std::exp(score / std::sqrt(static_cast<double>(shape.head_size))));
        }
        const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
        for (auto p = first_seen(row); p <= row; ++p)
          for (std::uint32_t i = 0; i < shape.head_size; ++i)
            sums[i] += shares[p - first_seen(row)] / all * element(prompt, head, 1, p, i);
        result.insert(result.end(), sums.begin(), sums.end());
      }
    return result;
  }
  std::vector<double> right() const {
    std::vector<double> result;
    for (std::uint32_t prompt = 0; prompt < lengths.size(); ++prompt) {
      const auto own = right(prompt, 0, lengths[prompt]);
      result.insert(result.end(), own.begin(), own.end());
    }
    return result;
  }

  double element(std::uint32_t prompt, std::uint32_t head, unsigned which, std::uint32_t position,
                 std::uint32_t i) const {
    const auto block = blocks[tables[prompt] + position / positions_per_block];
    return to_float(cache[layout.at(block, head / (heads / kv_heads), which, position) + i]);
  }
};

void expect_same_bits_however_cut(prompts_shape shape) {
  prompts some(7, shape, {150, 33});
  const auto whole = some.run();
  const auto width = some.row_size();
  for (const auto& [prompt, first, rows] :
       {chunk{0, 0, 17}, chunk{0, 17, 64}, chunk{0, 81, 69}, chunk{0, 149, 1}, chunk{1, 5, 20}}) {
    const auto part = some.run({{prompt, first, rows}});
    expect_close(part, some.right(prompt, first, rows), 0.01);
    for (std::size_t i = 0; i < part.size(); ++i)
      BOOST_TEST(part[i].bits == whole[(some.first_rows[prompt] + first) * width + i].bits);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(prefill_attention_suite)

BOOST_AUTO_TEST_CASE(each_row_attends_to_what_came_before_it_and_to_itself) {
  for (const std::uint32_t length : {1u, 16u, 34u, 64u, 65u}) {
    prompts some(length, {64}, {length});
    expect_close(some.run(), some.right(), 0.01);
  }
  prompts wide(3, {128}, {70});
  expect_close(wide.run(), wide.right(), 0.01);
}

BOOST_AUTO_TEST_CASE(sequences_of_one_launch_have_nothing_to_do_with_each_other) {
  prompts some(4, {64}, {70, 1, 34});
  expect_close(some.run(), some.right(), 0.01);
  const auto parts = some.run({{2, 10, 20}, {0, 30, 40}});
  auto wanted = some.right(2, 10, 20);
  const auto second = some.right(0, 30, 40);
  wanted.insert(wanted.end(), second.begin(), second.end());
  expect_close(parts, wanted, 0.01);
}

BOOST_AUTO_TEST_CASE(a_window_sees_the_last_positions_and_reads_no_others) {
  for (const std::uint32_t window : {1u, 20u, 64u, 100u, 1000u}) {
    prompts some(window, {64, window}, {150});
    expect_close(some.run(), some.right(), 0.01);
  }
}

BOOST_AUTO_TEST_CASE(values_that_only_other_rows_of_a_tile_see_do_not_spoil_a_row_however_large_they_are) {
  prompts some(1, {64, 64}, {128});
  for (std::uint32_t p = 0; p < 64; ++p)
    for (std::uint32_t head = 0; head < prompts::kv_heads; ++head) {
      const auto at = some.layout.at(some.blocks[p / positions_per_block], head, 1, p);
      std::fill_n(some.cache.begin() + static_cast<std::ptrdiff_t>(at), 64, to_bf16(3e38f)); // Their sum is infinite.
    }
  const auto got = some.run({{0, 64, 64}});
  const std::vector<bf16> last(got.end() - static_cast<std::ptrdiff_t>(some.row_size()), got.end());
  expect_close(last, some.right(0, 127, 1), 0.01);
}

BOOST_AUTO_TEST_CASE(a_row_has_the_same_bits_however_its_prompt_is_cut) {
  expect_same_bits_however_cut({64});
  expect_same_bits_however_cut({64, 40});
}

BOOST_AUTO_TEST_CASE(queries_keys_and_values_are_read_once_and_results_written_once, *only_on_the_shim()) {
  prompts some(2, {64}, {300});
  some.run({{0, 172, 128}});
  BOOST_TEST(some.traffic_over(some.needed) <= 1.05);
  BOOST_TEST(some.query_over <= 1.0);
  BOOST_TEST(some.cache_over <= 1.0);
  prompts wide(2, {128, 64}, {200});
  wide.run({{0, 130, 70}});
  BOOST_TEST(wide.traffic_over(wide.needed) <= 1.05);
  BOOST_TEST(wide.query_over <= 1.0);
  BOOST_TEST(wide.cache_over <= 1.0);
}

BOOST_AUTO_TEST_CASE(no_two_rows_of_a_matrix_are_in_one_bank, *only_on_the_shim()) {
  prompts some(9, {64}, {128});
  some.run();
  BOOST_TEST(some.device.last_launch().bank_conflicts == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
