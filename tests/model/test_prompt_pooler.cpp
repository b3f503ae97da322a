#include "model/prompt_pooler.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(prompt_poolers)

namespace {

constexpr std::size_t width = 2;

/// Rows of a sequence whose prompt has four tokens.
step_result feed(prompt_pooler& pooler, std::vector<float> hidden, bool ends, slot_id slot = 1) {
  batch_state::rows rows;
  rows.pooled_parts.push_back({slot, 3, 0, static_cast<std::uint32_t>(hidden.size() / width), ends});
  step_result result;
  pooler.pool(rows, hidden, width, result);
  return result;
}

void join(prompt_pooler& pooler, slot_id slot = 1) {
  sequence_joined joined;
  joined.slot = slot;
  pooler.join(joined);
}

} // namespace

BOOST_AUTO_TEST_CASE(one_row_is_scaled_to_length_1) {
  prompt_pooler pooler;
  join(pooler);
  const auto result = feed(pooler, {3, -4}, true);
  BOOST_REQUIRE(result.embeddings.size() == 1u);
  BOOST_TEST(result.embeddings[0].row == 3u);
  BOOST_TEST(result.embeddings[0].values == (std::vector<float>{0.6f, -0.8f}), boost::test_tools::per_element());
  BOOST_TEST(result.failures.empty());
}

BOOST_AUTO_TEST_CASE(a_mean_has_the_same_bits_however_its_rows_were_cut) {
  const std::vector<float> rows{1e8f, 1, -1e8f, 0.1f, 1, 1e-3f, 0.25f, 7};
  prompt_pooler pooler;
  join(pooler);
  const auto whole = feed(pooler, rows, true);
  BOOST_REQUIRE(whole.embeddings.size() == 1u);
  BOOST_TEST(whole.embeddings[0].values[0] > 0);
  for (std::size_t cut = width; cut < rows.size(); cut += width) {
    join(pooler);
    BOOST_TEST(feed(pooler, {rows.begin(), rows.begin() + cut}, false).embeddings.empty());
    const auto rest = feed(pooler, {rows.begin() + cut, rows.end()}, true);
    BOOST_REQUIRE(rest.embeddings.size() == 1u);
    BOOST_TEST(rest.embeddings[0].values == whole.embeddings[0].values, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_sequence_that_joins_again_begins_anew_and_slots_do_not_mix) {
  prompt_pooler pooler;
  join(pooler);
  join(pooler, 4);
  feed(pooler, {100, 100}, false);
  feed(pooler, {0, 9}, false, 4);
  join(pooler);
  BOOST_TEST(feed(pooler, {1, 0}, true).embeddings[0].values == (std::vector<float>{1, 0}),
             boost::test_tools::per_element());
  BOOST_TEST(feed(pooler, {12, 0}, true, 4).embeddings[0].values == (std::vector<float>{0.8f, 0.6f}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_has_no_direction_is_a_failure_of_its_row_alone) {
  for (const float bad : {0.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    prompt_pooler pooler;
    join(pooler);
    const auto result = feed(pooler, {bad, 0}, true);
    BOOST_TEST(result.embeddings.empty());
    BOOST_REQUIRE(result.failures.size() == 1u);
    BOOST_TEST(result.failures[0].row == 3u);
    BOOST_TEST((result.failures[0].why.code == errc::internal));
    join(pooler);
    BOOST_TEST(feed(pooler, {1, 0}, true).embeddings.size() == 1u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
