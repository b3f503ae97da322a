// Several engines behind one router: the death of one costs no request, no token, and doubles none.
#include <unistd.h>

#include <filesystem>

#include "tests/actors/several_engines.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(data_parallel)

namespace {

std::vector<token_id> right(const prompt_tokens& prompt, std::size_t count) {
  return fake_answer(prompt, count, tiny()->program.vocabulary);
}

/// Where the first token of a prompt can have a logprob: all after the first one.
std::size_t logprobs_of(const prompt_tokens& prompt) {
  return prompt.size() - 1;
}

} // namespace

BOOST_AUTO_TEST_CASE(load_is_spread_and_one_prefix_stays_together) {
  several_engines f(2, 256);
  for (std::uint32_t i = 0; i < 24; ++i)
    f.submit(i, numbered_prompt(i, 40), 20);
  for (std::uint32_t i = 0; i < 24; ++i)
    BOOST_TEST(f.wait(i).tokens == right(numbered_prompt(i, 40), 20), boost::test_tools::per_element());
  for (const auto& e : f.status().engines) {
    BOOST_TEST(e.placed_requests >= 10u);
    BOOST_TEST(e.placed_requests <= 14u);
    BOOST_TEST(e.waiting_tokens == 0u); // It has heard of every admission.
  }
  const auto before = f.status().engines;
  auto talk = numbered_prompt(99, 400);
  for (request_id id = 100; id < 106; ++id) {
    f.submit(id, talk, 20);
    f.wait(id);
    f.eventually("its blocks are known", [&] { return f.status().open_requests == 0; });
    talk.insert(talk.end(), f.answers[id].tokens.begin(), f.answers[id].tokens.end());
  }
  const auto after = f.status().engines;
  BOOST_TEST(
    (after[0].placed_requests == before[0].placed_requests || after[1].placed_requests == before[1].placed_requests));
  BOOST_TEST(after[0].expected_hits + after[1].expected_hits >= 5 * 384u);
  f.check({0, 1});
}

BOOST_AUTO_TEST_CASE(requests_outlive_a_scheduler_that_is_killed_and_an_engine_that_gives_up) {
  for (const bool killed : {true, false})
    for (const std::size_t after : {0, 1, 7, 25}) {
      BOOST_TEST_CONTEXT((killed ? "killed" : "gives up") << " after " << after << " tokens") {
        several_engines f(2);
        for (auto& e : f.engines)
          e.device->step_time = 500us;
        for (std::uint32_t i = 0; i < 16; ++i)
          f.submit(i, numbered_prompt(i, 5 + 7 * i), 40);
        f.take_until([&] { return f.answers[0].tokens.size() >= after; });
        killed ? f.kill_scheduler(0) : f.give_up(0);
        for (std::uint32_t i = 0; i < 16; ++i) {
          BOOST_TEST(f.wait(i).tokens == right(numbered_prompt(i, 5 + 7 * i), 40), boost::test_tools::per_element());
          BOOST_CHECK(f.answers[i].ends[0].reason == finish_reason::length);
          BOOST_TEST(f.answers[i].ends[0].usage.completion_tokens == 40u);
          BOOST_TEST(f.answers[i].ends[0].usage.cached_prompt_tokens < 5 + 7 * i);
        }
        f.submit(50, numbered_prompt(50, 20), 10); // and who comes later goes to the other one at once
        BOOST_TEST(f.wait(50).tokens == right(numbered_prompt(50, 20), 10), boost::test_tools::per_element());
        BOOST_TEST(!f.status().engines[0].up);
        f.check({1});
      }
    }
}

BOOST_AUTO_TEST_CASE(engines_may_die_one_after_the_other_as_long_as_they_come_back) {
  several_engines f(2);
  for (auto& e : f.engines)
    e.device->step_time = 1ms;
  for (std::uint32_t i = 0; i < 10; ++i)
    f.submit(i, numbered_prompt(i, 30 + i), 100);
  f.take_until([&] { return f.answers[0].tokens.size() >= 10; });
  f.kill_scheduler(0);
  f.take_until([&] { return f.answers[0].tokens.size() >= 20 && f.answers[1].tokens.size() >= 20; });
  f.bring_back(0);
  f.eventually("it is up again", [&] { return f.status().engines[0].up; });
  f.give_up(1);
  for (std::uint32_t i = 0; i < 10; ++i)
    BOOST_TEST(f.wait(i).tokens == right(numbered_prompt(i, 30 + i), 100), boost::test_tools::per_element());
  f.check({0});
}

BOOST_AUTO_TEST_CASE(a_request_that_makes_its_engines_give_up_ends_before_it_has_taken_all_of_them) {
  several_engines f(5);
  f.submit(1, numbered_prompt(1, 30), 100, [](generate_request& r) { r.credit = 3; });
  const auto engines_up = [&] {
    return std::ranges::count_if(f.status().engines, [](const auto& each) { return each.up; });
  };
  for (int left = 4; left >= 2; --left) { // Where it has its first tokens, where it is moved to, and once more.
    f.take_until([&] { return f.answers[1].tokens.size() >= static_cast<std::size_t>(5 - left) * 3; });
    const auto engines = f.status().engines; // Of one moment: the request is about to be at another.
    const auto its = std::ranges::find_if(engines, [](const auto& each) { return each.open_sequences > 0; });
    BOOST_REQUIRE(its != engines.end());
    f.give_up(static_cast<engine_index>(its - engines.begin()));
    f.eventually("its engine is down", [&] { return engines_up() == left; });
    f.say(credit_atom::value, credit_grant{1, 3});
  }
  BOOST_TEST(f.wait(1).ends[0].failure.message == "It has given up.");
  BOOST_TEST(engines_up() == 2);
  f.submit(2, numbered_prompt(2, 30), 10);
  BOOST_TEST(f.wait(2).tokens == right(numbered_prompt(2, 30), 10), boost::test_tools::per_element());
  f.check({});
}

BOOST_AUTO_TEST_CASE(where_every_engine_has_gone_requests_end_with_the_reason) {
  several_engines f(2);
  for (auto& e : f.engines)
    e.device->step_time = 1ms;
  for (std::uint32_t i = 0; i < 6; ++i)
    f.submit(i, numbered_prompt(i, 30), 400);
  f.take_until([&] { return f.answers[0].tokens.size() >= 5 && f.answers[1].tokens.size() >= 5; });
  f.give_up(0);
  f.give_up(1);
  for (std::uint32_t i = 0; i < 6; ++i) {
    BOOST_CHECK(f.wait(i).ends[0].failure.code == errc::unavailable);
    BOOST_TEST(f.answers[i].ends[0].failure.message == "It has given up.");
  }
  f.submit(20, numbered_prompt(20, 30), 10);
  BOOST_CHECK(f.wait(20).ends[0].failure.code == errc::unavailable);
  BOOST_TEST(f.answers[20].ends[0].failure.message.find("No engine is running") == 0u);
  f.check({});
}

BOOST_AUTO_TEST_CASE(several_answers_logprobs_and_credit_go_on_where_they_were) {
  const auto ask_for_all = [](generate_request& r) {
    r.n = 3;
    r.sampling.temperature = 0.7f;
    r.sampling.seed = 42;
    r.sampling.logprobs = 1;
    r.sampling.prompt_logprobs = 0;
    r.sampling.repetition_penalty = 1.3f;
    r.sampling.frequency_penalty = 0.2f;
    r.sampling.min_tokens = 30;
  };
  const auto prompt = numbered_prompt(3, 37);
  several_engines calm(2);
  calm.submit(1, prompt, 60, ask_for_all);
  const auto expected = calm.wait(1);
  BOOST_TEST(expected.prompt_logprobs.size() == logprobs_of(prompt));
  for (const std::size_t after : {1, 10, 40}) {
    BOOST_TEST_CONTEXT("after " << after << " tokens") {
      several_engines f(2);
      for (auto& e : f.engines)
        e.device->step_time = 500us;
      f.submit(1, prompt, 60, [&](generate_request& r) {
        ask_for_all(r);
        r.credit = 3 * 45;
      });
      f.take_until([&] { return f.answers[1].tokens.size() >= after; });
      const auto at = f.status().engines[0].open_sequences > 0 ? 0u : 1u;
      f.kill_scheduler(at);
      f.say(credit_atom::value, credit_grant{1, 20});
      f.say(credit_atom::value, credit_grant{1, 25});
      const auto& got = f.wait(1);
      BOOST_TEST(got.tokens == expected.tokens, boost::test_tools::per_element());
      BOOST_TEST(got.others.at(1) == expected.others.at(1), boost::test_tools::per_element());
      BOOST_TEST(got.others.at(2) == expected.others.at(2), boost::test_tools::per_element());
      BOOST_TEST(got.text == expected.text);
      BOOST_TEST(got.prompt_logprobs.size() == expected.prompt_logprobs.size());
      BOOST_REQUIRE(got.logprobs.size() == expected.logprobs.size());
      for (std::size_t i = 0; i < got.logprobs.size(); ++i)
        BOOST_TEST(got.logprobs[i].logprob == expected.logprobs[i].logprob);
      f.check({1 - at});
    }
  }
}

BOOST_AUTO_TEST_CASE(a_paused_request_is_moved_and_goes_on_when_it_is_resumed) {
  several_engines f(2);
  for (auto& e : f.engines)
    e.device->step_time = 500us;
  const auto prompt = numbered_prompt(1, 30);
  f.submit(1, prompt, 100);
  f.take_until([&] { return f.answers[1].tokens.size() >= 5; });
  f.say(pause_atom::value, request_id{1});
  const auto at = f.status().engines[0].open_sequences > 0 ? 0u : 1u;
  f.kill_scheduler(at);
  f.eventually("it has been moved", [&] { return f.status().engines[1 - at].open_sequences == 1; });
  const auto had = f.answers[1].tokens.size();
  f.submit(2, numbered_prompt(2, 20), 30); // another one does not wait for it
  f.wait(2);
  BOOST_TEST(f.answers[1].tokens.size() <= had + 20);
  f.say(resume_atom::value, request_id{1});
  BOOST_TEST(f.wait(1).tokens == right(prompt, 100), boost::test_tools::per_element());
  f.check({1 - at});
}

BOOST_AUTO_TEST_CASE(a_failure_of_its_own_moves_no_request) {
  several_engines f(2);
  f.submit(1, numbered_prompt(1, 64 * 16 + 5), 10); // longer than all KV memory
  BOOST_CHECK(f.wait(1).ends[0].failure.code == errc::context_overflow);
  f.submit(2, numbered_prompt(2, 20), 10, [](generate_request& r) {
    r.sampling.allowed_tokens = tiny()->end_tokens();
    r.sampling.min_tokens = 1;
  });
  BOOST_CHECK(f.wait(2).ends[0].failure.code == errc::invalid_argument);
  BOOST_TEST(f.status().engines[0].placed_requests + f.status().engines[1].placed_requests == 2u);
  f.check({0, 1});
}

BOOST_AUTO_TEST_CASE(a_request_that_is_cancelled_while_it_is_moved_leaves_nothing_behind) {
  several_engines f(2);
  for (std::uint32_t i = 0; i < 40; ++i)
    f.submit(i, numbered_prompt(i, 20), 1000, [](generate_request& r) { r.credit = 3; });
  f.take_until([&] { return f.answers[39].tokens.size() >= 3; });
  f.kill_scheduler(1);
  for (std::uint32_t i = 0; i < 40; ++i)
    f.say(cancel_atom::value, request_id{i});
  for (std::uint32_t i = 0; i < 40; ++i)
    BOOST_CHECK(f.wait(i).ends[0].reason == finish_reason::cancelled);
  f.check({0});
}

BOOST_AUTO_TEST_CASE(a_supervisor_begins_an_engine_anew_that_has_lost_a_part) {
  const auto die = [](const auto& actor) { caf::anon_send_exit(actor, caf::exit_reason::unhandled_exception); };
  for (unsigned part = 0; part < 3; ++part) {
    engine_fixture engine([](engine_options& o) {
      o.engines = 2;
      o.events.emplace(); // A successor publishes where the one that died did.
      o.events->endpoint =
        "ipc://" +
        (std::filesystem::temp_directory_path() / ("troupe-events-" + std::to_string(::getpid()))).string();
    });
    client c(engine);
    for (request_id id = 0; id < 20; ++id)
      c.submit(id, numbered_prompt(static_cast<std::uint32_t>(id), 20), 40);
    c.take_until([&] { return c.answers[19].tokens.size() >= 2; });
    const auto first = engine.tree.engines.front();
    part == 0 ? die(first.scheduler) : part == 1 ? die(first.kv_cache) : die(first.executor);
    for (request_id id = 0; id < 20; ++id)
      BOOST_TEST(c.wait(id).tokens == engine.right_answer(numbered_prompt(static_cast<std::uint32_t>(id), 20), 40),
                 boost::test_tools::per_element());
    const auto old = first.scheduler; // All requests may have ended before anybody noticed.
    engine.eventually("there is another first engine, and both are up", [&] {
      engine.tree = engine.ask<actor_tree>(engine.supervisor, tree_atom::value);
      const auto engines = engine.ask<router_status>(engine.tree.router, status_atom::value).engines;
      const auto& now = engine.tree.engines.front().scheduler; // Nobody, until a successor can publish.
      return now && now != old && engines.size() == 2 && engines[0].up && engines[1].up;
    });
  }
}

BOOST_AUTO_TEST_CASE(an_engine_whose_workers_are_given_up_costs_no_request) {
  engine_fixture engine([](engine_options& o) {
    o.engines = 2;
    o.max_restarts = 0;
  });
  engine.expect_failure = true; // Of the first one.
  engine.device->step_time = 500us;
  client c(engine);
  for (std::uint32_t i = 0; i < 20; ++i)
    c.submit(i, numbered_prompt(i, 20), 40);
  c.take_until([&] { return c.answers[0].tokens.size() >= 2; });
  caf::anon_send_exit(engine.tree.engines.front().workers.front(), caf::exit_reason::kill);
  for (std::uint32_t i = 0; i < 20; ++i)
    BOOST_TEST(c.wait(i).tokens == engine.right_answer(numbered_prompt(i, 20), 40), boost::test_tools::per_element());
  const auto status = engine.ask<router_status>(engine.tree.router, status_atom::value);
  BOOST_TEST(!status.engines[0].up);
  BOOST_TEST(status.engines[1].up);
  BOOST_TEST(status.open_requests == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
