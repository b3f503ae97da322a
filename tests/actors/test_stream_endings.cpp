// Requests of a stream that wait, are cancelled, refused or lost: each ends once, and its ticket is void.
#include "tests/actors/stream_fixture.hpp"

#include <random>

#include "protocol/limits.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(stream_endings)

BOOST_AUTO_TEST_CASE(cancelling_removes_every_sequence_that_runs_and_late_tokens_are_nothing) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(3));
  f.wait_added(3);
  const auto first = f.added[0].id;
  f.play_text(first + 1, "x", finish_reason::length);
  f.play_text(first, "ab");
  f.cancel(1);
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::cancelled);
  BOOST_TEST(end.usage.completion_tokens == 3u);
  BOOST_REQUIRE(end.choices.size() == 3u);
  BOOST_CHECK(end.choices[1].reason == finish_reason::length);
  BOOST_CHECK(end.choices[2].reason == finish_reason::cancelled);
  f.play_text(first, "late", finish_reason::length);
  f.play(first + 2, 0, 5, finish_reason::stop);
  f.cancel(1);
  f.take_orders();
  BOOST_TEST(f.removed == (std::set<sequence_id>{first, first + 2}), boost::test_tools::per_element());
  BOOST_TEST(f.answers[1].choices[0].text == "ab");
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(credit_is_for_all_answers_together_and_moves_on_when_one_ends) {
  stream_fixture f;
  f.submit(1, some_prompt, [](generate_request& r) {
    r.n = 2;
    r.credit = 7;
  });
  f.wait_added(2);
  const auto first = f.added[0].id;
  BOOST_TEST(f.granted[first] == 4u);
  BOOST_TEST(f.granted[first + 1] == 3u);
  f.play_text(first, "a", finish_reason::length);
  f.take_orders();
  BOOST_TEST(f.granted[first + 1] == 6u); // three that the first one has not used
  f.say(credit_atom::value, credit_grant{1, 10});
  f.take_orders();
  BOOST_TEST(f.granted[first] == 4u);
  BOOST_TEST(f.granted[first + 1] == 16u);
  f.cancel(1);
  f.wait_end(1);
}

BOOST_AUTO_TEST_CASE(credit_that_comes_before_the_request_has_started_is_not_lost) {
  stream_fixture f;
  f.submit(1, prompt_text("hello"), [](generate_request& r) { r.credit = 2; });
  f.say(credit_atom::value, credit_grant{1, 3});
  f.wait_added(1);
  f.take_orders();
  BOOST_TEST(f.granted[f.added[0].id] == 5u);
  f.cancel(1);
  f.wait_end(1);
}

BOOST_AUTO_TEST_CASE(a_request_that_is_paused_before_it_starts_is_not_started_until_it_is_resumed) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    stream_fixture f;
    f.submit(1, some_prompt);
    f.say(pause_atom::value, request_id{1});
    f.submit(2, some_prompt); // admitted after the first one
    f.wait_added(1);
    if (f.added[0].id == 1u) { // This thread was slow, and the pause came too late.
      f.wait_added(1);
      f.cancel(1), f.cancel(2);
      f.wait_end(1), f.wait_end(2);
      continue;
    }
    BOOST_TEST(f.added[0].id == 2u);
    f.take_orders();
    BOOST_TEST(f.added.size() == 1u);
    f.say(resume_atom::value, request_id{1});
    f.wait_added(1);
    BOOST_TEST(f.added[1].id == 1u);
    BOOST_TEST(f.paused.empty());
    f.cancel(1), f.cancel(2);
    f.wait_end(2);
    f.eventually_closed();
    return;
  }
  BOOST_FAIL("of 50 requests none was paused before it started");
}

BOOST_AUTO_TEST_CASE(pausing_and_resuming_is_for_all_answers_that_run_and_twice_is_once) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(3));
  f.wait_added(3);
  const auto first = f.added[0].id;
  f.play_text(first + 1, "x", finish_reason::length);
  f.say(pause_atom::value, request_id{1});
  f.say(pause_atom::value, request_id{1});
  f.say(pause_atom::value, request_id{77});
  f.play_text(first, "in flight");
  f.take_orders();
  BOOST_TEST(f.paused == (std::set<sequence_id>{first, first + 1, first + 2}), boost::test_tools::per_element());
  BOOST_TEST(f.flow_changes == 1u);
  BOOST_TEST(f.answers[1].choices[0].text == "in flight");
  f.say(resume_atom::value, request_id{1});
  f.say(resume_atom::value, request_id{1});
  f.take_orders();
  BOOST_TEST(f.paused.empty());
  f.say(pause_atom::value, request_id{1});
  f.cancel(1); // works while it is paused
  BOOST_CHECK(f.wait_end(1).reason == finish_reason::cancelled);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(however_fast_a_client_changes_its_mind_the_scheduler_is_told_one_thing_at_a_time) {
  stream_fixture f;
  f.submit(1, some_prompt, [](generate_request& r) { r.n = 3, r.credit = 3; });
  f.wait_added(3);
  for (int i = 0; i < 1000; ++i) {
    f.say(pause_atom::value, request_id{1});
    f.say(credit_atom::value, credit_grant{1, 3});
    f.say(resume_atom::value, request_id{1});
  }
  f.flush();
  f.take_orders();
  BOOST_TEST(f.flow_changes <= 3u);
  BOOST_TEST(f.paused.empty());
  std::uint64_t granted = 0;
  for (const auto& [sequence, credit] : f.granted)
    granted += credit;
  BOOST_TEST(granted == 3003u);
  f.cancel(1);
  f.wait_end(1);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(a_wish_that_the_policy_does_not_look_at_is_refused_by_name) {
  stream_fixture f;
  f.submit(1, some_prompt, [](generate_request& r) { r.scheduling.ttft_ms = 100; });
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.failure.code == errc::unsupported);
  BOOST_TEST(end.failure.message.find("'ttft_ms'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_refused_request_is_told_when_to_come_again) {
  stream_fixture f({2, 100, 1000});
  f.submit(1, some_prompt);
  f.submit(2, some_prompt);
  f.submit(3, some_prompt);
  const auto& end = f.wait_end(3);
  BOOST_CHECK(end.failure.code == errc::queue_full);
  BOOST_TEST(end.failure.retry_after_ms >= min_retry_ms);
  BOOST_TEST(end.failure.retry_after_ms <= max_retry_ms);
  BOOST_TEST(f.status().refused == 1u);
  f.cancel(1), f.cancel(2);
  f.wait_end(2);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(draining_refuses_what_is_new_and_answers_when_the_last_has_ended) {
  stream_fixture f;
  f.submit(1, some_prompt);
  f.wait_added(1);
  caf::scoped_actor operator_(f.system());
  bool drained = false;
  auto pending = operator_->request(f.router, 20s, drain_atom::value);
  BOOST_TEST(f.status().draining);
  f.submit(2, some_prompt);
  BOOST_CHECK(f.wait_end(2).failure.code == errc::unavailable);
  BOOST_TEST(operator_->mailbox().empty());
  f.play_text(f.added[0].id, "done", finish_reason::length); // what is open is served to its end
  BOOST_CHECK(f.wait_end(1).reason == finish_reason::length);
  pending.receive([&](expected<nothing>& done) { drained = done.has_value(); },
                  [](const caf::error& e) { BOOST_ERROR(caf::to_string(e)); });
  BOOST_TEST(drained);
}

BOOST_AUTO_TEST_CASE(the_tickets_of_a_stream_that_dies_are_void) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(5));
  f.submit(2, prompt_text("hello"));
  f.wait_added(6);
  BOOST_TEST(f.status().open_sequences == 6u);
  caf::anon_send_exit(f.stream, caf::exit_reason::kill);
  f.eventually_closed();
  BOOST_TEST(f.status().open_sequences == 0u);
  BOOST_TEST(f.status().open_tokens == 0u);
}

BOOST_AUTO_TEST_CASE(a_request_whose_tokenizer_fails_ends_and_its_ticket_is_void_cancelled_or_not) {
  stream_fixture f;
  f.replace_tokenizer();
  f.submit(1, prompt_text("hello"));
  f.submit(2, prompt_text("hello"));
  f.wait_encodes(2);
  f.cancel(1);
  BOOST_CHECK(f.wait_end(1).reason == finish_reason::cancelled);
  BOOST_TEST(f.status().open_requests == 2u); // the work for it goes on
  f.fail_encodes();
  BOOST_CHECK(f.wait_end(2).failure.code == errc::unavailable);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(when_the_engine_dies_its_requests_end_and_are_told_why) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(2));
  f.submit(2, some_prompt);
  f.wait_added(3);
  f.play_text(f.added[0].id, "a");
  f.kill_scheduler();
  BOOST_CHECK(f.wait_end(1).failure.code == errc::unavailable);
  BOOST_CHECK(f.wait_end(2).failure.code == errc::unavailable);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(an_id_is_free_again_when_its_request_has_ended_and_not_before) {
  stream_fixture f;
  f.submit(1, some_prompt);
  f.wait_added(1);
  f.submit(1, some_prompt);
  f.take_until([&] { return !f.errors.empty(); });
  BOOST_TEST(f.errors[0].failure.message.find("open already") != std::string::npos);
  f.cancel(1);
  f.wait_end(1);
  f.answers.clear();
  f.submit(1, some_prompt);
  f.wait_added(1);
  f.play_text(f.added[0].id, "late"); // of the first one
  f.play_text(f.added[1].id, "new", finish_reason::length);
  f.wait_end(1);
  BOOST_TEST(f.answers[1].choices[0].text == "new");
}

BOOST_AUTO_TEST_CASE(every_request_ends_once_whatever_comes_in_whatever_order) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      stream_fixture f;
      const request_id requests = 6;
      for (request_id id = 1; id <= requests; ++id)
        f.submit(id, random() % 2 ? prompt(some_prompt) : prompt(prompt_text("hello")), [&](generate_request& r) {
          r.n = 1 + random() % 3;
          r.best_of = random() % 3 == 0 ? r.n + random() % 3 : 0;
          r.credit = r.best_of > r.n || random() % 2 ? unlimited_credit : random() % 20;
          r.sampling.stop = random() % 2 ? std::vector<std::string>{"ab"} : std::vector<std::string>{};
          r.echo = random() % 4 == 0;
        });
      for (int i = 0; i < 300; ++i) {
        const auto any_id = static_cast<request_id>(random() % (requests + 2));
        // The scheduler's own order is kept for most of what it says, and broken for the rest.
        const auto sequence = random() % 20;
        const auto reason = static_cast<finish_reason>(random() % 2);
        switch (random() % 24) {
        case 0:
          f.cancel(any_id);
          break;
        case 1:
          f.say(credit_atom::value, credit_grant{any_id, static_cast<std::uint32_t>(random() % 5)});
          break;
        case 2:
          f.say(pause_atom::value, any_id);
          break;
        case 3:
          f.say(resume_atom::value, any_id);
          break;
        case 4: {
          stream_events step;
          step.failures.push_back({sequence, {errc::internal, "as the test wanted"}});
          if (random() % 8 == 0)
            f.play(std::move(step));
          break;
        }
        case 5:
          f.play(sequence, static_cast<std::uint32_t>(random() % 9), 40);
          break;
        case 6:
          f.play_text(sequence, "b", reason);
          break;
        default:
          f.play_text(sequence, random() % 2 ? "a" : "bx");
          break;
        }
        if (i % 50 == 0)
          f.flush();
      }
      for (request_id id = 1; id <= requests; ++id)
        f.cancel(id);
      for (request_id id = 1; id <= requests; ++id)
        f.wait_end(id);
      f.take_orders();
      for (request_id id = 1; id <= requests; ++id) {
        std::size_t given = 0;
        for (const auto& [choice, c] : f.answers[id].choices)
          given += c.tokens.size();
        BOOST_TEST(f.answers[id].ends[0].usage.completion_tokens >= given);
      }
      f.eventually_closed();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
