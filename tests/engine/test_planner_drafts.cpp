// Drafts, and rows for which no token is left.
#include "tests/engine/planner_bench.hpp"

using namespace troupe;
using troupe::test::planner_bench;

BOOST_AUTO_TEST_SUITE(planner_drafts)

namespace {

planner_bench::settings small(drafter draft = {}) {
  planner_bench::settings s;
  s.plan.max_batched_tokens = 64;
  s.plan.max_sequences = 8;
  s.plan.draft = std::move(draft);
  return s;
}

void wants_four(new_sequence& s) {
  s.max_drafts = 4;
}

} // namespace

BOOST_AUTO_TEST_CASE(drafts_that_are_right_come_in_one_step_and_wrong_ones_leave_no_trace) {
  planner_bench b(small());
  b.add(1, 10, 20, [](new_sequence& s) { s.max_drafts = 4; });
  b.step();
  b.answer();
  BOOST_TEST(!b.plan.propose(1, 0, std::vector<token_id>{1}), "they are for a token that is known already");
  const std::vector<token_id> guesses{b.next(1, 11), b.next(1, 12), 99, 98};
  BOOST_TEST(b.plan.propose(1, 1, guesses));
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(step->rows.at(0).count == 5u);
  BOOST_TEST(step->rows.at(0).drafts == 4u);
  BOOST_TEST(!b.step(), "with drafts in flight nobody knows where the next row stands");
  const auto events = b.answer();
  BOOST_REQUIRE(events.size() == 3u);
  BOOST_TEST(events[2].token == b.next(1, 13));
  step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(step->rows.at(0).first_position == 13u);
  b.run();
  BOOST_TEST(b.answers[1].size() == 20u);
  BOOST_TEST(b.plan.counts().drafts_accepted == 2u);
}

BOOST_AUTO_TEST_CASE(a_drafter_is_asked_once_between_a_result_and_the_next_step) {
  std::vector<std::uint32_t> asked; // How long the answer was each time.
  std::vector<token_id> last;
  planner_bench b(small([&](std::span<draft_query> queries) {
    BOOST_REQUIRE(queries.size() == 1u);
    auto& query = queries[0];
    BOOST_TEST(query.sequence == 1u, "the other one wants none");
    BOOST_TEST(query.prompt.size() == 10u);
    BOOST_TEST(query.most <= 4u);
    asked.push_back(static_cast<std::uint32_t>(query.answer.size()));
    last.assign(query.answer.begin(), query.answer.end());
    for (std::uint32_t i = 0; i < 6; ++i) // More than are tried.
      query.guesses.push_back(static_cast<token_id>(100000 + 10 + query.answer.size() + i + (i == 2)));
  }));
  b.add(1, 10, 12, wants_four);
  b.add(2, 10, 12);
  b.step();
  BOOST_TEST(asked.empty(), "no token of the answer is there");
  b.answer();
  const auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(asked == std::vector<std::uint32_t>{1}, boost::test_tools::per_element());
  BOOST_TEST(last == b.answers[1], boost::test_tools::per_element());
  BOOST_TEST(step->rows.at(0).drafts == 4u);
  BOOST_TEST(b.answer().size() == 4u, "two right ones, what came after them, and a token of the other");
  b.run();
  BOOST_TEST(asked == (std::vector<std::uint32_t>{1, 4, 7, 10}), boost::test_tools::per_element());
  BOOST_TEST(b.answers[1].size() == 12u);
  for (std::uint32_t i = 0; i < 12; ++i)
    BOOST_TEST(b.answers[1][i] == b.next(1, 10 + i));
}

BOOST_AUTO_TEST_CASE(a_drafter_without_a_guess_is_not_asked_again_before_there_is_another_token) {
  int asked = 0;
  auto s = small([&](std::span<draft_query>) { ++asked; });
  s.blocks = 16; // Three of them in the purse.
  planner_bench b(s);
  b.add(1, 16, 3, wants_four);
  b.add(2, 48, 1);
  auto step = b.plan.plan(b.now);
  BOOST_REQUIRE(step);
  BOOST_TEST(step->rows.size() == 2u);
  step_result result;
  result.epoch = step->epoch;
  result.step = step->step;
  result.sampled = {b.next(1, 16)};
  BOOST_REQUIRE(b.plan.take(result));
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(!b.plan.plan(b.now), "the purse is empty");
  BOOST_TEST(asked == 1);
  b.exchange();
  b.run();
  BOOST_TEST(asked == 1, "the last token needs no guess after it");
  BOOST_TEST(b.answers[1].size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_row_for_which_no_token_is_left_ends_its_sequence_and_no_other) {
  planner_bench b(small());
  b.next = [](sequence_id id, std::uint32_t position) {
    return id == 1 && position >= 12 ? no_token : static_cast<token_id>(position);
  };
  b.add(1, 10, 20);
  b.add(2, 10, 20);
  std::vector<failed_sequence> failed;
  for (int i = 0; i < 5; ++i) {
    b.step();
    b.step(); // Ahead: its row for the one that has failed is dropped.
    while (!b.in_flight.empty()) {
      b.answer();
      failed.insert(failed.end(), b.plan.failures().begin(), b.plan.failures().end());
    }
  }
  BOOST_REQUIRE(failed.size() == 1u);
  BOOST_TEST(failed[0].sequence == 1u);
  BOOST_TEST(b.answers[1].size() == 2u);
  BOOST_TEST(!b.plan.remove(1), "it is gone");
  b.run();
  BOOST_TEST(b.answers[2].size() == 20u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
