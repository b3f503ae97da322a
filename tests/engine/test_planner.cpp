#include "tests/engine/planner_bench.hpp"

using namespace troupe;
using troupe::test::planner_bench;

namespace {

planner_bench::settings small(std::uint32_t blocks = 64, std::uint32_t rows = 64, std::uint32_t sequences = 8) {
  planner_bench::settings s;
  s.blocks = blocks;
  s.plan.max_batched_tokens = rows;
  s.plan.max_sequences = sequences;
  return s;
}

const step_rows* rows_of(const step_changes& step, slot_id slot) {
  for (const auto& rows : step.rows)
    if (rows.slot == slot)
      return &rows;
  return nullptr;
}

std::uint32_t rows_in(const step_changes& step) {
  std::uint32_t sum = 0;
  for (const auto& rows : step.rows)
    sum += rows.count;
  return sum;
}

} // namespace

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
  BOOST_TEST(b.plan.counts().wasted_rows == 0u, "the last token is known to be the last: nothing is planned after it");
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

BOOST_AUTO_TEST_CASE(few_are_preempted_where_many_want_more_than_there_is) {
  auto s = small(40, 256, 32);
  planner_bench b(s);
  for (sequence_id id = 1; id <= 100; ++id)
    b.add(id, 16, 48);
  b.run();
  for (sequence_id id = 1; id <= 100; ++id)
    BOOST_TEST(b.answers[id].size() == 48u);
  BOOST_TEST(b.plan.counts().preemptions > 0u);
  BOOST_TEST(b.plan.counts().preemptions <= 100u, b.plan.counts().preemptions << " preemptions");
}

BOOST_AUTO_TEST_CASE(who_does_not_fit_is_passed_over_so_often_and_then_waited_for) {
  auto s = small(20, 64, 8);
  s.plan.max_skips = 3;
  s.prefix_caching = false;
  planner_bench b(s);
  b.add(1, 200, 40); // 13 of 20 blocks, and a reserve.
  b.step();
  b.step();
  b.add(2, 250, 1); // Never fits beside it.
  for (sequence_id id = 3; id < 9; ++id)
    b.add(id, 8, 1);
  std::size_t passed = 0;
  while (b.plan.counts().running > 0 && b.answers[2].empty()) {
    for (sequence_id id = 3; id < 9; ++id)
      passed = std::max(passed, static_cast<std::size_t>(std::count_if(
                                  b.answers.begin(), b.answers.end(),
                                  [](const auto& a) { return a.first >= 3 && !a.second.empty(); })));
    b.answer();
    b.step();
  }
  BOOST_TEST(passed == 3u);
  b.run();
  for (sequence_id id = 2; id < 9; ++id)
    BOOST_TEST(b.answers[id].size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_least_urgent_gives_up_its_blocks_and_finds_them_again_in_the_cache) {
  auto s = small(12, 64, 8);
  planner_bench b(s);
  b.add(1, 64, 60);
  b.add(2, 64, 60);
  b.run();
  BOOST_TEST(b.plan.counts().preemptions > 0u);
  BOOST_TEST(b.answers[1].size() == 60u);
  BOOST_TEST(b.answers[2].size() == 60u);
  for (std::uint32_t i = 0; i < 60; ++i)
    BOOST_TEST(b.answers[2][i] == b.next(2, 64 + i));
  BOOST_TEST(b.store.statistics().hit_tokens > 0u);
  BOOST_TEST(b.owned() == 0u);
}

BOOST_AUTO_TEST_CASE(who_runs_alone_waits_for_blocks_that_a_transfer_holds) {
  planner_options options;
  options.context_length = 64;
  options.groups = {{4, 0}};
  planner plan(options);
  new_sequence s;
  s.id = 1;
  s.prompt = std::make_shared<const std::vector<token_id>>(40, 5);
  s.sampling = std::make_shared<const sequence_sampling>();
  s.max_tokens = 1;
  BOOST_REQUIRE(plan.add(std::move(s), 0));
  BOOST_REQUIRE(plan.take_report());
  plan.grant({0, {{0}}, {0}, {{1, 0, {{}}}}}); // One block; three more are being saved.
  const auto first = plan.plan(0);
  BOOST_REQUIRE(first);
  BOOST_TEST(rows_in(*first) == 16u);
  BOOST_REQUIRE(plan.take({first->epoch, first->step, {}, {}, {}, {}, {}, 0}));
  BOOST_REQUIRE(plan.take_report());
  plan.grant({0, {{}}, {0}, {}});
  BOOST_TEST(!plan.plan(0));
  BOOST_TEST(plan.counts().preemptions == 0u);
  plan.blocks_came_free();
  BOOST_REQUIRE(plan.take_report());
  plan.grant({0, {{1, 2}}, {1}, {}});
  const auto second = plan.plan(0);
  BOOST_REQUIRE(second);
  BOOST_TEST(second->rows.at(0).first_position == 16u);
  BOOST_TEST(rows_in(*second) == 24u);
}

BOOST_AUTO_TEST_CASE(a_prompt_that_was_computed_before_is_not_computed_again) {
  planner_bench b(small());
  b.add(1, 50, 2);
  b.run();
  auto same = [](new_sequence& s) {
    std::vector<token_id> tokens(50);
    for (int i = 0; i < 50; ++i)
      tokens[static_cast<std::size_t>(i)] = 1000 + i;
    s.prompt = std::make_shared<const std::vector<token_id>>(tokens);
  };
  b.plan.take_admissions();
  b.add(2, 50, 2, same);
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(step->rows.at(0).first_position == 48u);
  BOOST_TEST(step->rows.at(0).count == 2u);
  BOOST_TEST(step->appended.at(0).count == 4u);
  const auto admitted = b.plan.take_admissions();
  BOOST_REQUIRE(admitted.size() == 1u);
  BOOST_TEST(admitted[0].cached_tokens == 48u);
  b.run();
  b.add(3, 50, 2, [&](new_sequence& s) {
    same(s);
    s.key.salt = "another tenant";
  });
  step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(step->rows.at(0).first_position == 0u);
}

BOOST_AUTO_TEST_CASE(forks_share_whole_blocks_and_copy_the_last) {
  planner_bench b(small());
  auto prompt = std::make_shared<const std::vector<token_id>>(40, 5);
  const auto parent = b.add(1, 40, 30, [&](new_sequence& s) { s.prompt = prompt; });
  const auto child = b.add(2, 40, 30, [&](new_sequence& s) {
    s.prompt = prompt;
    s.fork_of = 1;
  });
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(!rows_of(*step, child), "it waits for its parent's prompt");
  b.answer();
  step = b.step();
  BOOST_REQUIRE(step);
  BOOST_REQUIRE(rows_of(*step, child));
  BOOST_TEST(rows_of(*step, child)->first_position == 39u);
  BOOST_TEST(rows_of(*step, child)->count == 1u);
  BOOST_REQUIRE(step->copied.size() == 1u);
  BOOST_TEST(step->copied[0].from != step->copied[0].to);
  BOOST_TEST(b.owned() == 4u); // Two shared, and each its own third.
  BOOST_TEST(b.plan.remove(1));
  b.run();
  BOOST_TEST(b.answers[2].size() == 30u);
  BOOST_TEST(b.owned() == 0u);
  (void)parent;
}

BOOST_AUTO_TEST_CASE(a_fork_whose_parent_has_gone_computes_for_itself) {
  planner_bench b(small());
  b.add(1, 40, 30);
  b.add(2, 40, 3, [&](new_sequence& s) { s.fork_of = 1; });
  BOOST_TEST(b.plan.remove(1));
  b.exchange();
  b.run();
  BOOST_TEST(b.answers[2].size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_window_group_gives_its_old_blocks_back) {
  auto s = small(64, 32, 8);
  s.plan.groups = {{64, 0}, {10, 32}};
  s.prefix_caching = false;
  planner_bench b(s);
  b.add(1, 300, 50);
  b.run();
  BOOST_TEST(b.answers[1].size() == 50u);
  BOOST_TEST(b.plan.counts().preemptions == 0u, "ten blocks are enough for a window of 32");
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

BOOST_AUTO_TEST_CASE(who_waits_and_is_paused_holds_no_blocks_that_it_has_found) {
  planner_bench b(small(16, 64, 1));
  b.add(1, 64, 2);
  b.run(); // Its prompt is in the cache.
  b.add(2, 10, 100);
  b.step();
  b.answer();
  b.add(3, 64, 2, [](new_sequence& s) {
    std::vector<token_id> tokens(64);
    for (int i = 0; i < 64; ++i)
      tokens[static_cast<std::size_t>(i)] = 1000 + i;
    s.prompt = std::make_shared<const std::vector<token_id>>(tokens);
  });
  const auto held = b.owned();
  BOOST_TEST(b.plan.counts().waiting == 1u);
  BOOST_TEST(b.plan.pause(3));
  b.exchange();
  BOOST_TEST(b.owned() < held);
  BOOST_TEST(b.plan.counts().waiting == 0u);
  BOOST_TEST(b.plan.counts().paused == 1u);
  BOOST_TEST(b.plan.resume(3));
  b.exchange();
  BOOST_TEST(b.owned() == held);
  b.plan.remove(2);
  b.run();
  BOOST_TEST(b.answers[3].size() == 2u);
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

BOOST_AUTO_TEST_CASE(after_a_reset_everything_is_computed_again_to_the_same_tokens) {
  planner_bench b(small());
  b.add(1, 40, 10);
  b.add(2, 20, 10);
  b.step();
  b.step();
  b.answer();
  const auto lost = b.in_flight.front();
  b.in_flight.clear();
  b.plan.reset(4);
  b.exchange();
  step_result late;
  late.epoch = lost.epoch;
  late.step = lost.step;
  auto nothing = b.plan.take(late);
  BOOST_REQUIRE(nothing);
  BOOST_TEST(nothing->empty());
  auto step = b.step();
  BOOST_REQUIRE(step);
  BOOST_TEST(step->snapshot);
  BOOST_TEST(step->epoch == 4u);
  BOOST_TEST(step->rows.at(0).first_position == 0u);
  b.run();
  for (sequence_id id : {1, 2}) {
    BOOST_REQUIRE(b.answers[id].size() == 10u);
    for (std::uint32_t i = 0; i < 10; ++i)
      BOOST_TEST(b.answers[id][i] == b.next(id, (id == 1 ? 40 : 20) + i));
  }
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

BOOST_AUTO_TEST_CASE(what_can_never_fit_is_refused_at_once) {
  planner_bench b(small(4));
  new_sequence s;
  s.id = 9;
  s.prompt = std::make_shared<const std::vector<token_id>>(64, 1);
  s.sampling = std::make_shared<const sequence_sampling>();
  auto added = b.plan.add(s, 0);
  BOOST_REQUIRE(!added);
  BOOST_TEST((added.error().code == errc::context_overflow));
  s.prompt = std::make_shared<const std::vector<token_id>>();
  added = b.plan.add(s, 0);
  BOOST_REQUIRE(!added);
  BOOST_TEST((added.error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_SUITE_END()
