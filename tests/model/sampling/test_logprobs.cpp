#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/sampling/logprobs.hpp"
#include "tests/model/sampling/random_rows.hpp"

using namespace troupe;
using namespace troupe::tests;

BOOST_AUTO_TEST_SUITE(logprobs_suite)

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

struct plain {
  std::vector<token_id> order; ///< The likeliest first.
  std::vector<double> logprobs;
};

plain by_sorting(const std::vector<float>& row) {
  plain out;
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float logit : row)
    sum += std::exp(logit - largest);
  for (std::size_t i = 0; i < row.size(); ++i) {
    out.order.push_back(static_cast<token_id>(i));
    out.logprobs.push_back(row[i] - largest - std::log(sum));
  }
  std::stable_sort(out.order.begin(), out.order.end(), [&](auto a, auto b) {
    return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
  });
  return out;
}

bool is_near(float found, double wanted) {
  return found == wanted || std::fabs(found - wanted) <= 1e-5 + 1e-6 * std::fabs(wanted);
}

} // namespace

BOOST_AUTO_TEST_CASE(logprobs_ranks_and_the_likeliest_are_those_of_sorting) {
  random_rows random(1);
  for (int round = 0; round < 300; ++round) {
    const std::size_t vocabulary = round % 10 == 0 ? 20000 : 1 + random.below(400);
    const auto row = random.row(vocabulary);
    const auto wanted = by_sorting(row);
    const auto token = random.below(vocabulary);
    const auto top = static_cast<std::uint32_t>(random.below(25));
    sampling_workspace room(static_cast<std::uint32_t>(vocabulary));
    const auto found = logprob_of(row, static_cast<token_id>(token), top, room).value();
    BOOST_TEST(found.token == static_cast<token_id>(token));
    BOOST_TEST(is_near(found.logprob, wanted.logprobs[token]));
    BOOST_TEST(found.rank == 1 + std::count_if(row.begin(), row.end(), [&](float v) { return v > row[token]; }));
    const auto possible = std::count_if(row.begin(), row.end(), [](float v) { return v > -infinity; });
    BOOST_TEST_REQUIRE(found.top.size() == std::min<std::size_t>(top, static_cast<std::size_t>(possible)));
    for (std::size_t i = 0; i < found.top.size(); ++i) {
      BOOST_TEST(found.top[i].token == wanted.order[i]);
      BOOST_TEST(is_near(found.top[i].logprob, wanted.logprobs[static_cast<std::size_t>(wanted.order[i])]));
    }
  }
}

BOOST_AUTO_TEST_CASE(of_equal_logits_the_lower_ids_are_reported_and_all_have_one_rank) {
  const std::vector<float> row(40000, 2.0f);
  sampling_workspace room(40000);
  const auto found = logprob_of(row, 39999, 3, room).value();
  BOOST_TEST(found.rank == 1);
  BOOST_TEST(is_near(found.logprob, -std::log(40000.0)));
  for (std::size_t i = 0; i < 3; ++i)
    BOOST_TEST(found.top[i].token == static_cast<token_id>(i));
}

BOOST_AUTO_TEST_CASE(every_instruction_set_reports_the_same_bits) {
  random_rows random(2);
  for (int round = 0; round < 100; ++round) {
    const auto row = random.row(2000);
    std::vector<token_logprob> found;
    for (auto vectors : available_vectors()) {
      sampling_workspace room(2000, vectors);
      found.push_back(logprob_of(row, 7, 20, room).value());
      BOOST_TEST((found.back() == found.front()));
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_without_a_softmax_and_tokens_outside_are_errors) {
  sampling_workspace room(3);
  BOOST_TEST(logprob_of(std::vector<float>{0, 1, -infinity}, 2, 3, room).has_value());
  BOOST_TEST(!logprob_of(std::vector<float>{0, std::nanf(""), 1}, 0, 0, room).has_value());
  BOOST_TEST(!logprob_of(std::vector<float>{0, infinity, 1}, 0, 0, room).has_value());
  BOOST_TEST(!logprob_of(std::vector<float>(3, -infinity), 0, 0, room).has_value());
  BOOST_TEST(!logprob_of(std::vector<float>{0, 1, 2}, 3, 0, room).has_value());
  BOOST_TEST(!logprob_of(std::vector<float>{0, 1}, 0, 0, room).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
