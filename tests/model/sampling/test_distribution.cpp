// Sampled tokens come as often as they should, by Pearson's test. Seeds are fixed, so a case passes always or never;
// the limits are what a right sampler exceeds with one seed in 10,000.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <memory>

#include "model/sampling/sampler.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(distribution_suite)

namespace {

constexpr int draws = 30000;
const double chi_limits[] = {0, 15.2, 18.5, 21.2, 23.6, 25.8, 27.9, 29.9, 31.9, 33.8}; // By degrees of freedom.

std::vector<float> some_logits() {
  std::vector<float> out;
  for (int i = 0; i < 10; ++i)
    out.push_back(static_cast<float>(i * 7 % 10) * 0.35f);
  return out;
}

/// left: the tokens that should be sampled at all.
void check_frequencies(const sequence_sampling& s, const std::vector<std::size_t>& left) {
  const auto logits = some_logits();
  sampling_workspace room(static_cast<std::uint32_t>(logits.size()));
  const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
  std::vector<int> seen(logits.size());
  for (std::uint32_t position = 0; position < draws; ++position)
    ++seen[static_cast<std::size_t>(sampler.sample(logits, position, room).value())];
  double total = 0, chi = 0;
  int counted = 0;
  for (const auto token : left)
    total += std::exp(logits[token] / s.temperature);
  for (const auto token : left) {
    const auto wanted = draws * std::exp(logits[token] / s.temperature) / total;
    chi += (seen[token] - wanted) * (seen[token] - wanted) / wanted;
    counted += seen[token];
  }
  BOOST_TEST(counted == draws);
  BOOST_TEST(chi < chi_limits[left.size() - 1]);
}

} // namespace

BOOST_AUTO_TEST_CASE(by_temperature_tokens_come_as_the_softmax_says) {
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    sequence_sampling s;
    s.temperature = temperature;
    s.seed = 42;
    check_frequencies(s, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
}

// Logits in descending order: tokens 7 (3.15), 4 (2.8), 1 (2.45), 8, 5, 2, 9, 6, 3, 0.
BOOST_AUTO_TEST_CASE(after_truncation_what_is_left_comes_in_proportion) {
  sequence_sampling s;
  s.temperature = 1;
  s.seed = 43;
  s.top_k = 4;
  check_frequencies(s, {7, 4, 1, 8});
  s.top_k = 0;
  s.top_p = 0.7f; // Shares 0.304, 0.215, 0.151, 0.106: three have 0.670.
  check_frequencies(s, {7, 4, 1, 8});
  s.top_p = 1;
  s.min_p = 0.4f; // exp(-0.35 * 2) = 0.497, exp(-0.35 * 3) = 0.350
  check_frequencies(s, {7, 4, 1});
}

BOOST_AUTO_TEST_CASE(two_choices_of_one_request_are_independent) {
  const auto logits = std::vector<float>(4, 0.0f);
  sampling_workspace room(4);
  std::vector<int> pairs(16);
  for (std::uint32_t position = 0; position < draws; ++position) {
    std::size_t pair = 0;
    for (std::uint32_t choice : {0u, 1u}) {
      sequence_sampling s;
      s.temperature = 1;
      s.choice = choice;
      const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
      pair = pair * 4 + static_cast<std::size_t>(sampler.sample(logits, position, room).value());
    }
    ++pairs[pair];
  }
  double chi = 0;
  for (const auto count : pairs)
    chi += (count - draws / 16.0) * (count - draws / 16.0) / (draws / 16.0);
  BOOST_TEST(chi < 44.3); // 15 degrees of freedom.
}

BOOST_AUTO_TEST_SUITE_END()
