#include "gpu/kernels/attention_kernels.hpp"
#include "tests/gpu/kernel_fixture.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

struct attention_shape {
  std::uint32_t head_size, group; ///< Query heads for each of two KV heads.
  std::uint32_t window = 0;
};

/// Some sequences over a paged cache whose blocks lie in any order.
struct attention_case : kernel_fixture {
  static constexpr std::uint32_t kv_heads = 2;
  attention_shape shape;
  std::uint32_t heads, stride;
  kv_layout layout;
  std::vector<std::uint32_t> lengths, table;
  std::vector<bf16> query, cache;
  double read_by_block = 0; ///< Of the last run, keys and values that blocks have read over those that they must.
  double traffic = 0;       ///< Of the last run, sectors over the keys and values that rows see.

  attention_case(std::uint32_t seed, attention_shape of, std::vector<std::uint32_t> of_rows)
      : kernel_fixture(seed), shape(of), heads(kv_heads * of.group), layout{kv_heads, of.head_size},
        lengths(std::move(of_rows)) {
    const auto longest = *std::max_element(lengths.begin(), lengths.end());
    stride = (longest + positions_per_block - 1) / positions_per_block;
    table.resize(lengths.size() * stride);
    std::iota(table.begin(), table.end(), 0u);
    std::shuffle(table.begin(), table.end(), random);
    query = brain_floats(lengths.size() * row_size());
    cache = brain_floats(table.size() * kv_heads * 2 * positions_per_block * shape.head_size);
  }

  std::size_t row_size() const { return std::size_t{heads} * shape.head_size; }
  std::uint32_t first_seen(std::size_t row) const {
    return shape.window != 0 && lengths[row] > shape.window ? lengths[row] - shape.window : 0;
  }

  /// Blocks that no row sees are not in the tables that the device has.
  std::vector<bf16> run() {
    const auto rows = static_cast<std::uint32_t>(lengths.size());
    const auto splits = splits_of(*std::max_element(lengths.begin(), lengths.end()));
    auto seen = table;
    for (std::size_t row = 0; row < rows; ++row)
      for (std::uint32_t i = 0; i < stride; ++i)
        if (i < first_seen(row) / positions_per_block || i * positions_per_block >= lengths[row])
          seen[row * stride + i] = 0xffffff;
    const auto parts = space<float>(rows * heads * splits * (shape.head_size + partial_extra));
    const auto lengths_there = upload(lengths);
    const auto attended = space<bf16>(query.size());
    const auto cache_there = upload_counted(cache);
    const float scale = 1 / std::sqrt(static_cast<float>(shape.head_size));
    const decode_attention_arguments arguments{upload(query), cache_there, upload(seen), lengths_there, parts, heads,
                                               kv_heads,      stride,      splits,       shape.window,  scale};
    launch(plan_decode_attention(shape.head_size, heads, kv_heads, rows, splits).value(), arguments);
    std::size_t positions = 0;
    for (std::size_t row = 0; row < rows; ++row)
      positions += lengths[row] - first_seen(row);
    traffic = traffic_over(positions * kv_heads * 2 * shape.head_size * 2);
    read_by_block = read_over(cache_there, positions * kv_heads * 2 * shape.head_size * 2);
    launch(plan_combine_splits(shape.head_size, rows, heads).value(),
           combine_splits_arguments{parts, lengths_there, attended, heads, splits, shape.window});
    return download(attended, query.size());
  }

  std::vector<double> right() const {
    std::vector<double> result;
    for (std::size_t row = 0; row < lengths.size(); ++row)
      for (std::uint32_t head = 0; head < heads; ++head) {
        std::vector<double> sums(shape.head_size), scores;
        for (auto p = first_seen(row); p < lengths[row]; ++p) {
          double score = 0;
          for (std::uint32_t i = 0; i < shape.head_size; ++i)
            score += static_cast<double>(to_float(query[row * row_size() + head * shape.head_size + i])) *
                     element(row, head, 0, p, i);
          scores.push_back(score / std::sqrt(static_cast<double>(shape.head_size)));
        }
        const double most = lengths[row] > 0 ? *std::max_element(scores.begin(), scores.end()) : 0;
        double weights = lengths[row] > 0 ? 0 : 1;
        for (auto p = first_seen(row); p < lengths[row]; ++p) {
          const double weight = std::exp(scores[p - first_seen(row)] - most);
          weights += weight;
          for (std::uint32_t i = 0; i < shape.head_size; ++i)
            sums[i] += weight * element(row, head, 1, p, i);
        }
        for (const double sum : sums)
          result.push_back(sum / weights);
      }
    return result;
  }

  double element(std::size_t row, std::uint32_t head, unsigned which, std::uint32_t position, std::uint32_t i) const {
    return to_float(
      cache[layout.at(table[row * stride + position / positions_per_block], head / shape.group, which, position) +
            i]);
  }
};

void expect_right(attention_shape shape, const std::vector<std::uint32_t>& lengths) {
  attention_case some(shape.group, shape, lengths);
  expect_close(some.run(), some.right(), 0.006);
}

} // namespace

BOOST_AUTO_TEST_SUITE(decode_attention_suite)

BOOST_AUTO_TEST_CASE(it_is_softmax_of_queries_and_keys_over_the_values) {
  const std::vector<std::uint32_t> lengths = {1, 2, 15, 16, 17, 255, 256, 257, 600};
  expect_right({64, 1}, lengths);
  expect_right({64, 3}, lengths);
  expect_right({64, 4}, {5, 300});
  expect_right({128, 4}, {1, 33, 513});
  expect_right({128, 2}, {40});
  expect_right({256, 2}, {300, 1, 17});
}

BOOST_AUTO_TEST_CASE(a_row_that_sees_nothing_is_zero) {
  expect_right({64, 3}, {20, 0, 300});
  expect_right({64, 3, 5}, {0, 20});
}

BOOST_AUTO_TEST_CASE(groups_of_any_number_of_heads_are_right) {
  for (const std::uint32_t group : {5u, 6u, 7u, 8u, 9u, 16u})
    expect_right({64, group}, {300, 19});
  expect_right({128, 8}, {40, 300});
}

BOOST_AUTO_TEST_CASE(blocks_of_a_grid_share_a_group_evenly) {
  for (const auto& [group, heads] : {std::pair{1u, 1u}, {4u, 4u}, {5u, 3u}, {6u, 3u}, {7u, 4u}, {8u, 4u}, {9u, 3u}})
    BOOST_TEST(heads_a_block(group) == heads);
  BOOST_TEST(!plan_decode_attention(96, 4, 4, 1, 1));
  BOOST_TEST(!plan_combine_splits(80, 1, 4));
  BOOST_TEST(!plan_prefill_attention(256, 1, 4));
}

BOOST_AUTO_TEST_CASE(a_window_sees_the_last_positions_and_reads_no_others) {
  const std::vector<std::uint32_t> lengths = {1, 16, 63, 64, 65, 256, 300, 320, 321, 850};
  for (const std::uint32_t window : {1u, 16u, 64u, 300u, 1000u})
    expect_right({64, 3, window}, lengths);
  attention_case some(1, {128, 8, 512}, {4000, 3333});
  expect_close(some.run(), some.right(), 0.006);
  BOOST_TEST(some.traffic <= 1.10);
}

BOOST_AUTO_TEST_CASE(a_row_has_the_same_bits_alone_and_in_any_company_and_order_of_threads) {
  for (const auto& shape : {attention_shape{64, 3}, {64, 7}, {64, 3, 100}}) {
    attention_case together(5, shape, {600, 31, 256, 577});
    const auto all = together.run();
    for (std::uint32_t row = 0; row < 4; ++row) {
      attention_case alone(row + 6, shape, {together.lengths[row]});
      const auto from = together.query.begin() + static_cast<std::ptrdiff_t>(row * alone.row_size());
      alone.query.assign(from, from + static_cast<std::ptrdiff_t>(alone.row_size()));
      const auto own_table = together.table.begin() + row * together.stride;
      alone.table.assign(own_table, own_table + alone.stride);
      alone.cache = together.cache;
      const auto one = alone.run();
      for (std::size_t i = 0; i < one.size(); ++i)
        BOOST_TEST(one[i].bits == all[row * alone.row_size() + i].bits);
    }
  }
}

BOOST_AUTO_TEST_CASE(keys_and_values_are_read_once_for_all_heads_of_a_group, *only_on_the_shim()) {
  attention_case three(1, {64, 3}, {4000, 3777});
  three.run();
  BOOST_TEST(three.traffic <= 1.05);
  BOOST_TEST(three.read_by_block <= 1.0);
  attention_case four(1, {128, 4}, {2000});
  four.run();
  BOOST_TEST(four.traffic <= 1.05);
  BOOST_TEST(four.read_by_block <= 1.0);
}

BOOST_AUTO_TEST_SUITE_END()
