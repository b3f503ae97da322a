// What a stream makes of requests, and of what a scheduler brings it for them.
#include "tests/actors/stream_fixture.hpp"

#include "protocol/limits.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(streams)

BOOST_AUTO_TEST_CASE(token_ids_go_to_the_scheduler_without_the_tokenizer) {
  stream_fixture f;
  caf::anon_send_exit(f.tokenizer, caf::exit_reason::kill);
  f.submit(1, some_prompt, [](generate_request& r) {
    r.sampling.max_tokens = 9;
    r.scheduling = {3, 0, 0, "salt"};
  });
  f.wait_added(1);
  const auto& s = f.added[0];
  BOOST_TEST(*s.prompt == some_prompt, boost::test_tools::per_element());
  BOOST_TEST(s.max_tokens == 9u);
  BOOST_TEST(s.key.salt == "salt");
  BOOST_TEST(s.scheduling.priority == 3);
  BOOST_TEST(s.fork_of == 0u);
  BOOST_TEST(s.credit == unlimited_credit);
  BOOST_TEST(s.sampling->end_tokens == f.source->end_tokens(), boost::test_tools::per_element());
  f.play_text(s.id, "hey", finish_reason::length);
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::length);
  BOOST_TEST(end.usage.prompt_tokens == 5u);
  BOOST_TEST(end.usage.completion_tokens == 3u);
  BOOST_TEST(end.choices.empty());
  BOOST_TEST(f.answers[1].choices[0].text == "hey");
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(answers_to_one_prompt_are_forks_that_share_it_and_end_together) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(3));
  f.wait_added(3);
  BOOST_TEST(f.status().open_requests == 1u);
  BOOST_TEST(f.status().open_sequences == 3u);
  const auto first = f.added[0].id;
  for (std::uint32_t i = 0; i < 3; ++i) {
    BOOST_TEST(f.added[i].id == first + i);
    BOOST_TEST(f.added[i].sampling->choice == i);
    BOOST_TEST(f.added[i].prompt == f.added[0].prompt); // the same, not only equal
    BOOST_TEST(f.added[i].fork_of == (i == 0 ? 0 : first));
  }
  stream_events step;
  step.admissions = {{first, 4}, {first + 1, 5}};
  f.play(step);
  f.play_text(first + 1, "two", finish_reason::length);
  f.play_text(first + 2, "three", finish_reason::stop);
  f.flush();
  BOOST_TEST(f.answers[1].ends.empty());
  f.play_text(first, "one", finish_reason::stop);
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::length);
  BOOST_TEST(end.usage.completion_tokens == 11u);
  BOOST_TEST(end.usage.cached_prompt_tokens == 4u); // the first one's: the others share its blocks
  BOOST_REQUIRE(end.choices.size() == 3u);
  BOOST_CHECK(end.choices[2].reason == finish_reason::stop);
  BOOST_TEST(end.choices[2].completion_tokens == 5u);
  BOOST_TEST(f.answers[1].choices[0].text == "on"); // the token that ends an answer has no text
  BOOST_TEST(f.answers[1].choices[1].text == "two");
  BOOST_TEST(f.answers[1].choices[2].text == "thre");
  f.take_orders();
  BOOST_TEST(f.removed.empty()); // the scheduler knew of every end
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(all_that_a_step_brings_to_a_client_is_one_delivery) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(2));
  f.submit(2, some_prompt);
  f.wait_added(3);
  stream_events step;
  for (const auto& s : f.added)
    step.tokens.push_back({s.id, 0, f.token_of('x'), sequence_event::finished_by(finish_reason::length)});
  const auto before = f.deliveries;
  f.play(std::move(step));
  f.wait_end(1);
  BOOST_TEST(f.deliveries == before + 1);
  BOOST_TEST(f.answers[2].ends.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_stop_string_across_tokens_ends_one_of_the_answers) {
  stream_fixture f;
  f.submit(1, some_prompt, [](generate_request& r) {
    r.n = 2;
    r.sampling.stop = {"END"};
  });
  f.wait_added(2);
  const auto first = f.added[0].id;
  f.play_text(first, "the E");
  f.play_text(first + 1, "no E");
  f.play_text(first, "ND of it"); // in flight when it ends: too late
  f.take_orders();
  BOOST_TEST(f.removed == std::set<sequence_id>{first}, boost::test_tools::per_element());
  f.play_text(first + 1, "nd", finish_reason::length);
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.choices[0].reason == finish_reason::stop);
  BOOST_TEST(end.choices[0].completion_tokens == 7u);
  BOOST_TEST(f.answers[1].choices[0].text == "the ");
  BOOST_TEST(f.answers[1].choices[1].text == "no End");
}

BOOST_AUTO_TEST_CASE(the_failure_of_one_answer_is_that_of_the_request) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(3));
  f.wait_added(3);
  const auto first = f.added[0].id;
  f.play_text(first, "a");
  stream_events step;
  step.tokens = {{first, 1, f.token_of('b'), 0}};
  step.failures.push_back({first + 1, {errc::context_overflow, "It can never fit."}});
  step.failures.push_back({first + 2, {errc::internal, "Too late to count."}});
  f.play(std::move(step));
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::error);
  BOOST_CHECK(end.failure.code == errc::context_overflow);
  BOOST_TEST(f.answers[1].choices[0].text == "ab");
  f.take_orders();
  BOOST_TEST(f.removed.count(first) == 1u);
  BOOST_TEST(f.removed.count(first + 2) == 1u);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(what_fails_after_a_stop_string_fails_nothing) {
  stream_fixture f;
  f.submit(1, some_prompt, [](generate_request& r) {
    r.n = 2;
    r.sampling.stop = {"END"};
  });
  f.wait_added(2);
  const auto first = f.added[0].id;
  f.play_text(first, "the END"); // The scheduler does not know that this is the end.
  stream_events ahead;
  ahead.failures.push_back({first, {errc::invalid_argument, "No token is left."}});
  f.play(std::move(ahead));
  f.play_text(first + 1, "no end", finish_reason::length);
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.reason == finish_reason::length);
  BOOST_CHECK(end.failure.code == errc::none);
  BOOST_TEST(f.answers[1].choices[1].text == "no end");
}

BOOST_AUTO_TEST_CASE(the_best_of_several_answers_are_given_in_the_order_of_their_rank) {
  stream_fixture f;
  f.submit(1, some_prompt, answers_wanted(2, 4));
  f.wait_added(4);
  const auto first = f.added[0].id;
  const float scores[] = {-3, -1, -2, -0.5f};
  for (std::uint32_t i = 0; i < 4; ++i) {
    BOOST_TEST(f.added[i].sampling->logprobs == 0); // for the ranking
    stream_events step;
    step.tokens = {
      {first + i, 0, f.token_of(static_cast<char>('a' + i)), sequence_event::finished_by(finish_reason::length)}};
    step.logprobs.push_back({0, {0, scores[i], 1, {}}});
    f.flush();
    BOOST_TEST(f.answers[1].choices.empty());
    f.play(std::move(step));
  }
  const auto& end = f.wait_end(1);
  BOOST_REQUIRE(f.answers[1].choices.size() == 2u);
  BOOST_TEST(f.answers[1].choices[0].text == "d");
  BOOST_TEST(f.answers[1].choices[1].text == "b");
  BOOST_TEST(f.answers[1].choices[0].logprobs.empty());
  BOOST_TEST(end.usage.completion_tokens == 4u);
  BOOST_REQUIRE(end.choices.size() == 2u);
  BOOST_TEST(*end.choices[1].mean_logprob == -1.0f);
}

BOOST_AUTO_TEST_CASE(an_answer_begins_with_the_prompt_where_it_is_to_be_echoed) {
  stream_fixture f;
  const auto echoed = [](generate_request& r) { r.echo = true, r.n = 2; };
  f.submit(1, prompt_text("hello <|im_end|> "), echoed);
  f.wait_added(2);
  f.submit(2, prompt_messages{{"user", "hi"}}, echoed);
  f.wait_added(2);
  f.submit(3, f.source->tokens->encode("as <|im_end|>", true), echoed);
  f.wait_added(2);
  for (const auto& s : f.added)
    f.play_text(s.id, "!x", finish_reason::length);
  for (request_id id : {1, 2, 3})
    f.wait_end(id);
  std::string chat;
  const auto parts = prompt_text_of(*f.source, prompt_messages{{"user", "hi"}}, 0);
  for (const auto& part : *parts)
    chat += part.text;
  for (std::uint32_t choice : {0, 1}) {
    BOOST_TEST(f.answers[1].choices[choice].text == "hello <|im_end|> !x");
    BOOST_TEST(f.answers[2].choices[choice].text == chat + "!x");
    BOOST_TEST(f.answers[3].choices[choice].text == "as <|im_end|>!x");
    BOOST_TEST(f.answers[1].choices[choice].tokens.size() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(echoes_over_the_limit_are_refused) {
  stream_fixture f;
  f.submit(1, prompt_tokens(300000, f.token_of('x')), [](generate_request& r) { r.echo = true, r.n = 128; });
  const auto& end = f.wait_end(1);
  BOOST_CHECK(end.failure.code == errc::limit_exceeded);
  BOOST_TEST(end.failure.message.find("'echo'") != std::string::npos);
  f.eventually_closed();
}

BOOST_AUTO_TEST_CASE(logprobs_of_answers_and_prompt_are_passed_on_to_the_first_answer) {
  stream_fixture f;
  f.submit(1, some_prompt, [](generate_request& r) {
    r.n = 2;
    r.sampling.logprobs = 1;
    r.sampling.prompt_logprobs = 0;
  });
  f.wait_added(2);
  BOOST_TEST(f.added[0].sampling->prompt_logprobs == 0);
  BOOST_TEST(f.added[1].sampling->prompt_logprobs == -1);
  BOOST_TEST(f.added[1].sampling->logprobs == 1);
  const auto first = f.added[0].id;
  stream_events prefill;
  prefill.prompt_logprobs.push_back({first, 1, {{11, -1, 1, {}}, {12, -2, 2, {}}}});
  f.play(std::move(prefill));
  stream_events step;
  step.prompt_logprobs.push_back({first, 3, {{13, -3, 3, {}}, {14, -4, 4, {}}}});
  step.tokens = {{first, 0, 20, 0}, {first + 1, 0, 21, 0}};
  step.logprobs = {{0, {20, -0.5f, 1, {{20, -0.5f}}}}, {1, {21, -0.75f, 2, {{22, -0.25f}}}}};
  f.play(std::move(step));
  f.flush();
  auto& a = f.answers[1];
  BOOST_REQUIRE(a.prompt_logprobs.size() == 4u);
  BOOST_TEST(a.prompt_logprobs[3].token == 14);
  BOOST_REQUIRE(a.choices[1].logprobs.size() == 1u);
  BOOST_TEST(a.choices[1].logprobs[0].top[0].token == 22);
  f.cancel(1);
  BOOST_TEST(*f.wait_end(1).choices[0].mean_logprob == -0.5f);
}

BOOST_AUTO_TEST_CASE(bad_words_become_tokens_whatever_the_prompt) {
  stream_fixture f;
  const auto change = [](generate_request& r) { r.sampling.bad_words = {"no"}; };
  f.submit(1, some_prompt, change);
  f.wait_added(1);
  f.submit(2, prompt_text("hello"), change);
  f.wait_added(1);
  for (const auto& s : f.added) {
    BOOST_REQUIRE(!s.sampling->bad_words.empty());
    BOOST_TEST(s.sampling->bad_words[0] == f.source->tokens->encode("no"), boost::test_tools::per_element());
  }
  f.cancel(1), f.cancel(2);
  f.wait_end(2);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_the_model_is_refused_with_the_name_of_the_field) {
  stream_fixture f;
  const auto refused = [&](request_id id, const char* field, const std::function<void(generate_request&)>& change) {
    f.submit(id, some_prompt, change);
    const auto& end = f.wait_end(id);
    BOOST_TEST_CONTEXT(end.failure.message) {
      BOOST_CHECK(end.failure.code == errc::invalid_argument);
      BOOST_TEST(end.failure.message.find(field) != std::string::npos);
    }
  };
  refused(1, "'stop_tokens[0]'", [](generate_request& r) { r.sampling.stop_tokens = {99999}; });
  refused(2, "'allowed_tokens[1]'", [](generate_request& r) { r.sampling.allowed_tokens = {1, 99999}; });
  refused(3, "'logit_bias[0]'", [](generate_request& r) { r.sampling.logit_bias = {{99999, 1}}; });
  refused(4, "'bad_words[0]'", [](generate_request& r) { r.sampling.bad_words = {"  "}; });
  refused(5, "tokens[1]", [](generate_request& r) { r.prompt = prompt_tokens{1, 99999}; });
  refused(6, "'credit'", [](generate_request& r) { r.n = 1, r.best_of = 2, r.credit = 5; });
  f.eventually_closed();
}

BOOST_AUTO_TEST_SUITE_END()
