#include "tests/engine/planner_bench.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(planners_and_blocks)

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
      passed = std::max(passed,
                        static_cast<std::size_t>(std::count_if(b.answers.begin(), b.answers.end(), [](const auto& a) {
                          return a.first >= 3 && !a.second.empty();
                        })));
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
  BOOST_REQUIRE(plan.take({first->epoch, first->step, {}, {}, {}, {}, {}, {}, 0}));
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

BOOST_AUTO_TEST_CASE(what_can_never_fit_is_refused_at_once) {
  planner_bench b(small(4));
  new_sequence s;
  s.max_tokens = 1;
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
