#include "tests/engine/planner_bench.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(planners)

BOOST_AUTO_TEST_CASE(a_prompt_is_computed_in_chunks_and_only_its_last_row_samples) {
  planner_bench b(small());
  b.add(1, 100, 2);
  auto first = b.step();
  BOOST_REQUIRE(first);
  BOOST_TEST(first->rows.at(0).count == 64u);
  BOOST_TEST(!first->rows.at(0).samples);
  auto second = b.step(); // Planned while the first computes.
  BOOST_REQUIRE(second);
  BOOST_TEST(second->rows.at(0).first_position == 64u);
  BOOST_TEST(second->rows.at(0).count == 36u);
  BOOST_TEST(second->rows.at(0).samples);
  BOOST_TEST(b.answer().empty());
  BOOST_TEST(b.answer().size() == 1u);
  b.run();
  BOOST_TEST(b.answers[1].size() == 2u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(the_step_after_one_that_samples_is_planned_before_its_token_is_known) {
  planner_bench b(small());
  b.add(1, 10, 5);
  BOOST_REQUIRE(b.step());
  auto ahead = b.step();
  BOOST_REQUIRE(ahead);
  BOOST_TEST(ahead->rows.at(0).first_position == 10u);
  BOOST_TEST(ahead->rows.at(0).holds_last);
  BOOST_TEST(ahead->tokens.empty());
  BOOST_TEST(!b.step(), "no more than two steps may have it");
  BOOST_TEST(b.answer().at(0).token == b.next(1, 10));
  BOOST_TEST(b.answer().at(0).token == b.next(1, 11));
  b.run();
  BOOST_TEST(b.answers[1].size() == 5u);
  BOOST_TEST(b.plan.counts().wasted_rows == 0u,
             "the last token is known to be the last: nothing is planned after it");
}

BOOST_AUTO_TEST_CASE(a_guess_that_an_end_token_proves_wrong_costs_one_row_and_leaves_nothing) {
  planner_bench b(small());
  auto ends = std::make_shared<sequence_sampling>();
  ends->end_tokens = {7};
  b.next = [](sequence_id, std::uint32_t position) { return position == 12 ? 7 : 50; };
  b.add(1, 10, 50, [&](new_sequence& s) { s.sampling = ends; });
  BOOST_REQUIRE(b.step());
  for (int i = 0; i < 3; ++i) {
    BOOST_REQUIRE(b.step());
    b.answer();
  }
  BOOST_TEST(b.answers[1] == (std::vector<token_id>{50, 50, 7}), boost::test_tools::per_element());
  BOOST_TEST(b.in_flight.size() == 1u);
  BOOST_TEST(b.owned() > 0u, "its blocks are its own until the step that still has it is back");
  BOOST_TEST(b.answer().empty());
  BOOST_TEST(b.owned() == 0u);
  BOOST_TEST(b.plan.counts().wasted_rows == 1u);
  BOOST_TEST(!b.step());
}

BOOST_AUTO_TEST_CASE(a_removed_sequence_leaves_with_the_last_step_that_has_it) {
  planner_bench b(small());
  b.add(1, 10, 50);
  BOOST_REQUIRE(b.step());
  BOOST_REQUIRE(b.step());
  BOOST_TEST(b.plan.remove(1));
  BOOST_TEST(!b.plan.remove(1));
  BOOST_TEST(b.answer().empty());
  BOOST_TEST(b.plan.counts().running == 1u);
  BOOST_TEST(b.answer().empty());
  BOOST_TEST(b.plan.counts().running == 0u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(decodes_are_served_before_prompts) {
  planner_bench b(small(64, 16, 8));
  const auto a = b.add(1, 4, 50);
  b.step();
  b.answer();
  const auto c = b.add(2, 40, 5);
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_REQUIRE(rows_of(*step, a));
  BOOST_TEST(step->rows.at(0).slot == a);
  BOOST_REQUIRE(rows_of(*step, c));
  BOOST_TEST(rows_of(*step, c)->count == 15u);
}

BOOST_AUTO_TEST_CASE(a_long_prompt_leaves_rows_to_short_ones_and_takes_what_they_do_not_need) {
  auto s = small(256, 64, 8);
  s.plan.long_prefill_tokens = 16;
  planner_bench b(s);
  const auto long_one = b.add(1, 1000, 1);
  const auto short_one = b.add(2, 10, 1);
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_REQUIRE(rows_of(*step, short_one));
  BOOST_TEST(rows_of(*step, short_one)->samples);
  BOOST_TEST(rows_of(*step, long_one)->count == 54u);
  BOOST_TEST(rows_in(*step) == 64u);
}

BOOST_AUTO_TEST_CASE(a_step_keeps_its_budget_of_time_and_a_prompt_still_moves) {
  auto s = small(256, 64, 8);
  s.plan.step_budget_ms = 20;
  planner_bench b(s);
  b.add(1, 2000, 1);
  for (int i = 0; i < 6; ++i) { // A row takes a millisecond.
    auto step = b.step();
    BOOST_REQUIRE(step);
    b.in_flight.clear();
    step_result result;
    result.epoch = step->epoch;
    result.step = step->step;
    result.compute_ms = rows_in(*step);
    BOOST_REQUIRE(b.plan.take(result));
    b.exchange();
  }
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(rows_in(*step) <= 21u);
  BOOST_TEST(rows_in(*step) >= 16u);
}

BOOST_AUTO_TEST_CASE(who_runs_and_wants_tokens_fast_has_long_prompts_cut_for_it_under_deadline_alone) {
  for (auto kind : {scheduling_policy::kind_type::deadline, scheduling_policy::kind_type::first_come}) {
    auto s = small(256, 64, 8);
    s.plan.policy.kind = kind;
    planner_bench b(s);
    b.add(1, 4, 200, [](new_sequence& hasty) { hasty.scheduling.itl_ms = 20; });
    b.step();
    b.answer();
    b.add(2, 2000, 1);
    std::uint32_t rows = 0;
    for (int i = 0; i < 8; ++i) { // A row takes a millisecond.
      auto step = b.step();
      BOOST_REQUIRE(step);
      b.in_flight.clear();
      step_result result;
      result.epoch = step->epoch;
      result.step = step->step;
      result.compute_ms = rows = rows_in(*step);
      for (const auto& each : step->rows)
        if (each.samples)
          result.sampled.push_back(b.next(1, each.first_position + 1));
      BOOST_REQUIRE(b.plan.take(result));
      b.exchange();
    }
    if (kind == scheduling_policy::kind_type::deadline)
      BOOST_TEST((rows >= 16u && rows <= 21u), rows << " rows");
    else
      BOOST_TEST(rows == 64u);
  }
}

BOOST_AUTO_TEST_CASE(credit_counts_tokens_in_flight) {
  planner_bench b(small());
  b.add(1, 10, 50, [](new_sequence& s) { s.credit = 2; });
  BOOST_REQUIRE(b.step());
  BOOST_REQUIRE(b.step());
  BOOST_TEST(!b.step());
  b.answer();
  b.answer();
  BOOST_TEST(!b.step());
  BOOST_TEST(b.plan.counts().paused == 1u);
  BOOST_TEST(b.plan.grant_credit(1, 1));
  BOOST_REQUIRE(b.step());
  b.answer();
  BOOST_TEST(b.answers[1].size() == 3u);
  b.plan.remove(1);
  b.exchange();
}

BOOST_AUTO_TEST_CASE(who_is_paused_gives_way_and_comes_back) {
  planner_bench b(small(64, 64, 1));
  b.add(1, 10, 5);
  b.step();
  b.answer();
  BOOST_TEST(b.plan.pause(1));
  b.add(2, 10, 5);
  for (int i = 0; i < 20 && b.answers[2].size() < 5; ++i) {
    b.step();
    if (!b.in_flight.empty())
      b.answer();
  }
  BOOST_TEST(b.answers[2].size() == 5u);
  BOOST_TEST(b.answers[1].size() == 1u);
  BOOST_TEST(b.plan.resume(1));
  b.exchange();
  b.run();
  BOOST_TEST(b.answers[1].size() == 5u);
}

BOOST_AUTO_TEST_CASE(a_row_that_has_failed_ends_its_sequence_and_no_other) {
  planner_bench b(small());
  const auto bad = b.add(1, 10, 5), good = b.add(2, 10, 5);
  b.step();
  b.step(); // Planned ahead: it has a row of each.
  step_result result;
  result.step = b.in_flight.front().step;
  result.epoch = b.in_flight.front().epoch;
  result.sampled = {no_token, b.next(2, 10)};
  result.failures.push_back({0, {errc::invalid_argument, "no token"}});
  b.in_flight.pop_front();
  auto events = b.plan.take(result);
  BOOST_REQUIRE(events);
  BOOST_REQUIRE(events->size() == 1u);
  BOOST_TEST((*events)[0].slot == good);
  BOOST_REQUIRE(b.plan.failures().size() == 1u);
  BOOST_TEST(b.plan.failures()[0].sequence == 1u);
  BOOST_TEST(b.plan.failures()[0].slot == bad);
  BOOST_TEST(b.plan.failures()[0].why.message == "no token");
  b.answers[2].push_back((*events)[0].token);
  b.exchange();
  b.run();
  BOOST_TEST(b.answers[1].empty());
  BOOST_TEST(b.answers[2].size() == 5u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(priority_goes_first_and_waiting_makes_up_for_it) {
  auto s = small(64, 64, 1);
  s.plan.policy.kind = scheduling_policy::kind_type::priority;
  s.plan.policy.ageing_ms = 1000;
  planner_bench b(s);
  b.add(1, 10, 3);
  b.step();
  b.add(2, 10, 1, [](new_sequence& n) { n.scheduling.priority = 5; });
  b.now = 1'000'000;
  b.add(3, 10, 1, [](new_sequence& n) { n.scheduling.priority = 0; });
  b.now = 6'000'000; // The second has waited longer than its five levels are worth.
  b.add(4, 10, 1, [](new_sequence& n) { n.scheduling.priority = 0; });
  std::vector<sequence_id> order;
  for (int i = 0; i < 40; ++i) {
    b.step();
    if (b.in_flight.empty())
      break;
    for (const auto& event : b.answer())
      if (event.finished)
        order.push_back(event.sequence);
  }
  BOOST_TEST(order == (std::vector<sequence_id>{1, 3, 2, 4}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_result_that_does_not_fit_its_step_is_refused) {
  planner_bench b(small());
  b.add(1, 10, 5);
  auto step = b.step();
  BOOST_REQUIRE(step);
  step_result result;
  result.epoch = step->epoch;
  result.step = step->step;
  BOOST_TEST(!b.plan.take(result), "no token, where one was to be sampled");
  result.sampled = {5, 6};
  BOOST_TEST(!b.plan.take(result), "two");
  result.sampled = {5};
  result.step += 1;
  BOOST_TEST(!b.plan.take(result), "another step");
  result.step -= 1;
  result.accepted = {1};
  BOOST_TEST(!b.plan.take(result), "a draft that was not tried");
  result.accepted = {0};
  BOOST_TEST(b.plan.take(result).has_value());
  b.plan.remove(1);
  b.exchange();
}

BOOST_AUTO_TEST_CASE(a_sequence_that_has_tokens_from_another_engine_goes_on_after_them) {
  planner_bench b(small());
  auto sampling = std::make_shared<sequence_sampling>();
  sampling->repetition_penalty = 1.5f;
  sampling->end_tokens = {7};
  sampling->min_tokens = 9;
  b.next = [](sequence_id, std::uint32_t position) { return static_cast<token_id>(position < 27 ? 7 : 50); };
  b.add(1, 20, 12, [&](new_sequence& s) {
    s.sampling = sampling;
    s.credit = 100;
    s.answer = std::make_shared<const std::vector<token_id>>(std::vector<token_id>{41, 42, 43});
  });
  auto first = b.step();
  BOOST_REQUIRE(first);
  BOOST_TEST(first->joined.at(0).prompt_tokens == 20u); // so that the worker counts the answer as the first one did
  BOOST_TEST(first->joined.at(0).history->size() == 23u);
  BOOST_TEST(first->rows.at(0).count == 23u);
  BOOST_TEST(first->tokens.back() == 43);
  const auto events = b.answer();
  BOOST_REQUIRE(events.size() == 1u);
  BOOST_TEST(events[0].index == 3u);
  b.run();
  BOOST_TEST(b.answers[1].size() == 9u, "with those that it had there are as many as it may have");
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(forks_that_have_tokens_already_share_the_prompt_and_nothing_else) {
  planner_bench b(small());
  const auto prompt = std::make_shared<const std::vector<token_id>>(40, 5);
  const auto with = [&](sequence_id parent, std::vector<token_id> answer) {
    return [=](new_sequence& s) {
      s.prompt = prompt;
      s.fork_of = parent;
      s.answer = std::make_shared<const std::vector<token_id>>(std::move(answer));
    };
  };
  b.add(1, 40, 6, with(0, {11}));
  b.add(2, 40, 6, with(1, {21, 22, 23}));
  b.add(3, 40, 6, with(1, {}));
  b.run();
  BOOST_TEST(b.answers[1].size() == 5u);
  BOOST_TEST(b.answers[2].size() == 3u);
  BOOST_TEST(b.answers[3].size() == 6u);
  BOOST_TEST(b.store.statistics().hit_tokens >= 32u, "the second finds the prompt's blocks in the cache");
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(a_sequence_that_has_all_its_tokens_is_not_taken) {
  planner_bench b(small());
  new_sequence s;
  s.id = 1;
  s.prompt = std::make_shared<const std::vector<token_id>>(5, 1);
  s.sampling = std::make_shared<const sequence_sampling>();
  s.max_tokens = 3;
  s.answer = std::make_shared<const std::vector<token_id>>(3, 2);
  const auto refused = b.plan.add(std::move(s), 0);
  BOOST_REQUIRE(!refused);
  BOOST_CHECK(refused.error().code == errc::internal);
}

BOOST_AUTO_TEST_SUITE_END()
