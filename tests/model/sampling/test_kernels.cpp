// The kernels against plain loops, and every instruction set against the others.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "model/sampling/kernels.hpp"
#include "model/sampling/noise.hpp"
#include "tests/model/sampling/random_rows.hpp"

using namespace troupe;
using namespace troupe::tests;
using namespace troupe::sampling;

BOOST_AUTO_TEST_SUITE(sampling_kernels_suite)

namespace {

constexpr float lowest = std::numeric_limits<float>::lowest();
constexpr float infinity = std::numeric_limits<float>::infinity();

struct made {
  std::vector<float> row, block_largest;
  weighing what;
  made(random_rows& random, std::size_t vocabulary, float scale)
      : row(random.row(vocabulary)), block_largest(blocks_of(vocabulary)) {
    const auto largest = portable_kernels.scan(row.data(), row.size(), block_largest.data());
    what = {row.data(), row.size(), block_largest.data(), largest, scale, lowest};
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_scan_finds_maxima_and_whatever_is_not_a_number) {
  random_rows random(1);
  for (auto vectors : available_vectors())
    for (std::size_t vocabulary = 1; vocabulary < 140; ++vocabulary) {
      auto row = random.row(vocabulary);
      std::vector<float> blocks(blocks_of(vocabulary));
      const auto& kernels = kernels_for(vectors);
      const auto found = kernels.scan(row.data(), vocabulary, blocks.data());
      BOOST_TEST(found == *std::max_element(row.begin(), row.end()));
      for (std::size_t b = 0; b < blocks.size(); ++b)
        BOOST_TEST(blocks[b] == *std::max_element(row.begin() + static_cast<std::ptrdiff_t>(b * block_tokens),
                                                  row.begin() + static_cast<std::ptrdiff_t>(
                                                                  std::min(vocabulary, (b + 1) * block_tokens))));
      for (float bad : {std::nanf(""), -std::nanf(""), infinity}) {
        const auto at = random.below(vocabulary);
        const float good = row[at];
        row[at] = bad;
        BOOST_TEST(kernels.scan(row.data(), vocabulary, blocks.data()) == infinity);
        for (std::size_t b = 0; b < blocks.size(); ++b)
          BOOST_TEST((blocks[b] == infinity) == (b == at / block_tokens));
        row[at] = good;
      }
    }
}

BOOST_AUTO_TEST_CASE(weights_are_powers_within_their_error_and_never_rise_as_values_fall) {
  std::vector<float> values;
  for (float t = 0; t > -45; t -= 0.0017f)
    values.push_back(t);
  const weighing what{values.data(), values.size(), nullptr, 0, 1, lowest};
  for (auto vectors : available_vectors()) {
    std::vector<std::uint64_t> weights(blocks_of(values.size()) * block_tokens);
    kernels_for(vectors).weights(what, weights.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double wanted = std::exp2(static_cast<double>(values[i])) * static_cast<double>(one);
      BOOST_TEST(std::fabs(static_cast<double>(weights[i]) - wanted) <= 0.5 + wanted * 3e-7);
      BOOST_TEST((i == 0 || weights[i] <= weights[i - 1]));
    }
  }
}

BOOST_AUTO_TEST_CASE(sums_of_weights_are_those_of_the_weights_one_by_one_with_any_vectors) {
  random_rows random(2);
  for (int round = 0; round < 200; ++round) {
    const made m(random, 1 + random.below(300), round % 3 == 0 ? 1.4427f : round % 3 == 1 ? 0.02f : 100.0f);
    std::vector<std::uint64_t> first;
    for (auto vectors : available_vectors()) {
      const auto& kernels = kernels_for(vectors);
      std::vector<std::uint64_t> weights(blocks_of(m.row.size()) * block_tokens), sums(intervals);
      const auto both = kernels.weights(m.what, weights.data()), again = kernels.weigh_and_spread(m.what);
      weights.resize(m.row.size());
      std::uint64_t total = 0, histogram_total = 0;
      for (const auto weight : weights)
        total += weight;
      kernels.histogram(m.what, -2.5f, 1, sums.data());
      for (const auto sum : sums)
        histogram_total += sum;
      BOOST_TEST(both.total == total);
      BOOST_TEST(again.total == total);
      BOOST_TEST(again.spread == both.spread);
      BOOST_TEST(kernels.weigh(m.what) == total);
      BOOST_TEST(histogram_total == total);
      if (first.empty())
        first = weights;
      BOOST_TEST((first == weights));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_intervals_of_a_histogram_have_between_them_all_values_each_once) {
  random_rows random(3);
  for (auto vectors : available_vectors())
    for (int round = 0; round < 5; ++round) {
      const made m(random, 1 + random.below(200), 1.4427f);
      const auto& kernels = kernels_for(vectors);
      const auto padded = blocks_of(m.row.size()) * block_tokens;
      std::vector<std::uint64_t> sums(intervals), weights(padded);
      std::vector<float> values(padded);
      std::vector<std::int32_t> indices(padded);
      kernels.histogram(m.what, -1.0f, 1, sums.data());
      std::uint64_t before = 0;
      std::vector<int> seen(m.row.size());
      for (std::size_t interval = 0; interval < intervals; ++interval) {
        std::uint64_t nearer = 0;
        const auto count =
          kernels.collect_intervals(m.what, -1.0f, interval, interval, nearer, values.data(), indices.data());
        BOOST_TEST(nearer == before);
        before += sums[interval];
        for (std::size_t i = 0; i < count; ++i) {
          ++seen[static_cast<std::size_t>(indices[i])];
          BOOST_TEST(values[i] == m.row[static_cast<std::size_t>(indices[i])]);
        }
        const auto found =
          kernels.weights({values.data(), count, nullptr, m.what.largest, m.what.scale, lowest}, weights.data());
        BOOST_TEST(found.total == sums[interval]);
      }
      for (std::size_t i = 0; i < seen.size(); ++i)
        BOOST_TEST(seen[i] == (m.row[i] >= lowest ? 1 : 0));
    }
}

BOOST_AUTO_TEST_CASE(the_search_misses_nothing_whose_noise_is_large_enough_and_shows_few_others) {
  random_rows random(4);
  for (auto vectors : available_vectors())
    for (int round = 0; round < 60; ++round) {
      const auto count = 4950 + random.below(50);
      std::vector<std::uint64_t> mixed(count + search_padding);
      std::vector<float> weights(count + search_padding, 1.0f);
      for (std::size_t i = 0; i < count; ++i)
        mixed[i] = mix_block(i);
      sequence_sampling s;
      s.seed = random.below(1000);
      const auto key = noise_key(s, 7);
      const double gap = -1 + 0.2 * round;
      const noise_search where{mixed.data(), weights.data(), count, key};
      std::vector<bool> shown(count);
      for (std::size_t i = 0; (i = kernels_for(vectors).search(where, i, std::exp(-gap))) < count; ++i)
        shown[i] = true;
      for (std::size_t i = 0; i < count; ++i)
        BOOST_TEST((shown[i] || block_noise(key, mixed[i]).largest() <= gap));
      BOOST_TEST(std::count(shown.begin(), shown.end(), true) < 5000 * 32 * std::exp(-gap) * 1.5 + 20);
    }
}

BOOST_AUTO_TEST_SUITE_END()
