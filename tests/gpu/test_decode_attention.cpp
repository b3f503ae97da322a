#include "tests/gpu/kernel_fixture.hpp"

#include <cmath>
#include <numeric>

using namespace troupe::gpu;
using namespace troupe::gpu::test;

namespace {

/// Some sequences over a paged cache whose blocks lie in any order.
template <unsigned HeadSize, unsigned Heads>
struct attention_case : kernel_fixture {
  static constexpr std::uint32_t kv_heads = 2, heads = kv_heads * Heads;
  kv_layout layout{kv_heads, HeadSize};
  std::vector<std::uint32_t> lengths;
  std::uint32_t stride, splits;
  std::vector<std::uint32_t> table;
  std::vector<bf16> query, cache;
  global<bf16> attended;

  attention_case(std::uint32_t seed, std::vector<std::uint32_t> of_rows)
      : kernel_fixture(seed), lengths(std::move(of_rows)) {
    const auto longest = *std::max_element(lengths.begin(), lengths.end());
    stride = (longest + positions_per_block - 1) / positions_per_block;
    splits = (longest + split_positions - 1) / split_positions;
    table.resize(lengths.size() * stride);
    std::iota(table.begin(), table.end(), 0u);
    std::shuffle(table.begin(), table.end(), random);
    query = brain_floats(lengths.size() * heads * HeadSize);
    cache = brain_floats(table.size() * kv_heads * 2 * positions_per_block * HeadSize);
    attended = space<bf16>(query.size());
  }

  /// Of the last kernels: sectors over those that must be moved, once a launch; and of keys and values, once a block that needs them.
  struct moved {
    double all = 0, of_cache = 0;
  };

  std::vector<bf16> run(moved* traffic = nullptr) {
    using attention = decode_attention<HeadSize, Heads>;
    const auto rows = static_cast<std::uint32_t>(lengths.size());
    const auto parts = space<float>(rows * heads * splits * (HeadSize + partial_extra));
    const auto lengths_there = upload(lengths);
    const float scale = 1 / std::sqrt(static_cast<float>(HeadSize));
    const auto cache_there = upload_counted(cache);
    launch<attention>(
      {upload(query), cache_there, upload(table), lengths_there, parts, heads, kv_heads, stride, splits, scale},
      {rows, kv_heads, splits}, attention::max_threads, attention::shared_bytes);
    if (traffic) {
      const auto positions = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
      const auto bytes = positions * kv_heads * 2 * HeadSize * 2;
      *traffic = {traffic_over(bytes), read_over(cache_there, bytes)};
    }
    launch<combine_splits<HeadSize>>({parts, lengths_there, attended, heads, splits}, {rows, heads});
    return download(attended, query.size());
  }

  std::vector<double> right() const {
    std::vector<double> result;
    for (std::size_t row = 0; row < lengths.size(); ++row)
      for (std::uint32_t head = 0; head < heads; ++head) {
        std::vector<double> sums(HeadSize), scores;
        for (std::uint32_t p = 0; p < lengths[row]; ++p) {
          double score = 0;
          for (std::uint32_t i = 0; i < HeadSize; ++i)
            score +=
              static_cast<double>(to_float(query[(row * heads + head) * HeadSize + i])) * element(row, head, 0, p, i);
          scores.push_back(score / std::sqrt(static_cast<double>(HeadSize)));
        }
        const double most = *std::max_element(scores.begin(), scores.end());
        double weights = 0;
        for (std::uint32_t p = 0; p < lengths[row]; ++p) {
          const double weight = std::exp(scores[p] - most);
          weights += weight;
          for (std::uint32_t i = 0; i < HeadSize; ++i)
            sums[i] += weight * element(row, head, 1, p, i);
        }
        for (const double sum : sums)
          result.push_back(sum / weights);
      }
    return result;
  }

  double element(std::size_t row, std::uint32_t head, unsigned which, std::uint32_t position, std::uint32_t i) const {
    return to_float(
      cache[layout.at(table[row * stride + position / positions_per_block], head / Heads, which, position) + i]);
  }
};

template <unsigned HeadSize, unsigned Heads>
void expect_right(const std::vector<std::uint32_t>& lengths) {
  attention_case<HeadSize, Heads> some(Heads, lengths);
  expect_close(some.run(), some.right(), 0.006);
}

} // namespace

BOOST_AUTO_TEST_SUITE(decode_attention_suite)

BOOST_AUTO_TEST_CASE(it_is_softmax_of_queries_and_keys_over_the_values) {
  const std::vector<std::uint32_t> lengths = {1, 2, 15, 16, 17, 255, 256, 257, 600};
  expect_right<64, 1>(lengths);
  expect_right<64, 3>(lengths);
  expect_right<64, 4>({5, 300});
  expect_right<128, 4>({1, 33, 513});
  expect_right<128, 2>({40});
}

BOOST_AUTO_TEST_CASE(a_row_has_the_same_bits_alone_and_in_any_company_and_order_of_threads) {
  attention_case<64, 3> together(5, {600, 31, 256});
  const auto all = together.run();
  for (std::uint32_t seed = 6; seed < 9; ++seed) {
    attention_case<64, 3> alone(seed, {600});
    alone.query.assign(together.query.begin(), together.query.begin() + 6 * 64);
    alone.table.assign(together.table.begin(), together.table.begin() + alone.stride);
    alone.cache = together.cache;
    const auto one = alone.run();
    for (std::size_t i = 0; i < one.size(); ++i)
      BOOST_TEST(one[i].bits == all[i].bits);
  }
}

BOOST_AUTO_TEST_CASE(keys_and_values_are_read_once_for_all_heads_of_a_group) {
  attention_case<64, 3>::moved traffic;
  attention_case<64, 3>(1, {4000, 3777}).run(&traffic);
  BOOST_TEST(traffic.all <= 1.05);
  BOOST_TEST(traffic.of_cache <= 1.0);
  attention_case<128, 4>::moved wide;
  attention_case<128, 4>(1, {2000}).run(&wide);
  BOOST_TEST(wide.all <= 1.05);
  BOOST_TEST(wide.of_cache <= 1.0);
}

BOOST_AUTO_TEST_SUITE_END()
