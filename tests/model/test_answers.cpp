#include "model/answers.hpp"

#include <boost/test/unit_test.hpp>

#include <map>

#include "engine/step.hpp"
#include "tests/support/tiny_tokens.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(answers_suite)

namespace {

using test::tiny_tokens;

/// Each byte is a token of the tiny model's vocabulary.
token_id token_of(char byte) {
  const auto tokens = tiny_tokens()->encode(std::string(1, byte));
  BOOST_REQUIRE(tokens.size() == 1u);
  return tokens[0];
}

using outcome = answers::outcome;

struct feeding {
  answers all;
  std::vector<token_delta> out;

  explicit feeding(answers_options options) : all(tiny_tokens(), std::move(options)) {}

  outcome feed(std::uint32_t choice, char byte, std::optional<finish_reason> finished = {},
               std::optional<float> logprob = {}) {
    token_logprob value{token_of(byte), logprob.value_or(0), 1, {}};
    const auto index = static_cast<std::uint32_t>(all.tokens(choice).size());
    return all.take(choice, index, token_of(byte), finished, logprob ? &value : nullptr, out);
  }

  outcome feed_text(std::uint32_t choice, const std::string& text, std::optional<finish_reason> finished = {},
                    std::optional<float> logprob = {}) {
    auto result = outcome::goes_on;
    for (std::size_t i = 0; i < text.size(); ++i)
      result = feed(choice, text[i], i + 1 == text.size() ? finished : std::nullopt, logprob);
    return result;
  }

  std::string text(std::uint32_t choice) const {
    std::string result;
    for (const auto& d : out)
      if (d.choice == choice)
        result += d.text;
    return result;
  }
};

answers_options of(std::uint32_t n, std::uint32_t sequences, std::vector<std::string> stop = {}) {
  answers_options result;
  result.id = 9;
  result.n = n;
  result.sequences = sequences;
  result.stop = std::move(stop);
  return result;
}

} // namespace

BOOST_AUTO_TEST_CASE(tokens_of_one_step_and_answer_come_in_one_delta) {
  feeding f(of(2, 2));
  f.feed_text(0, "ab");
  f.feed_text(1, "c");
  f.feed_text(0, "d");
  BOOST_REQUIRE(f.out.size() == 3u);
  BOOST_TEST(f.out[0].id == 9u);
  BOOST_TEST(f.out[0].text == "ab");
  BOOST_TEST(f.out[0].token_ids.size() == 2u);
  BOOST_TEST(f.out[1].choice == 1u);
  BOOST_TEST(f.out[1].position == 0u);
  BOOST_TEST(f.out[2].position == 2u);
  BOOST_TEST(f.all.generated() == 4u);
}

BOOST_AUTO_TEST_CASE(a_token_that_was_there_already_or_comes_too_late_changes_nothing) {
  feeding f(of(1, 1));
  f.feed(0, 'a');
  BOOST_CHECK(f.all.take(0, 0, token_of('b'), {}, nullptr, f.out) == outcome::stale);
  BOOST_CHECK(f.all.take(0, 2, token_of('b'), {}, nullptr, f.out) == outcome::stale);
  BOOST_CHECK(f.feed(0, 'b', finish_reason::length) == outcome::ended);
  BOOST_CHECK(f.feed(0, 'c') == outcome::stale);
  BOOST_TEST(f.text(0) == "ab");
  BOOST_TEST(f.all.tokens(0).size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_stop_string_ends_one_answer_and_not_the_others) {
  feeding f(of(2, 2, {"END"}));
  BOOST_CHECK(f.feed_text(0, "so EN") == outcome::goes_on);
  BOOST_CHECK(f.feed_text(1, "no EN") == outcome::goes_on);
  BOOST_CHECK(f.feed(0, 'D') == outcome::stopped);
  BOOST_TEST(f.all.ended(0));
  BOOST_TEST(!f.all.all_ended());
  BOOST_CHECK(f.feed_text(1, "V", finish_reason::length) == outcome::ended);
  BOOST_TEST(f.all.all_ended());
  BOOST_TEST(f.text(0) == "so ");
  BOOST_TEST(f.text(1) == "no ENV");
  const auto ends = f.all.ends(finish_reason::error);
  BOOST_REQUIRE(ends.size() == 2u);
  BOOST_CHECK(ends[0].reason == finish_reason::stop);
  BOOST_CHECK(ends[1].reason == finish_reason::length);
  BOOST_TEST(ends[0].completion_tokens == 6u);
  BOOST_CHECK(!ends[0].mean_logprob);
}

BOOST_AUTO_TEST_CASE(the_token_that_ends_an_answer_has_no_text_and_what_was_held_back_has) {
  feeding f(of(1, 1, {"END"}));
  f.feed_text(0, "the EN");
  BOOST_CHECK(f.feed(0, 'D', finish_reason::stop) == outcome::ended);
  BOOST_TEST(f.text(0) == "the EN");
  BOOST_TEST(f.all.tokens(0).size() == 7u);
}

BOOST_AUTO_TEST_CASE(a_last_token_that_completes_a_stop_string_is_a_stop) {
  feeding f(of(1, 1, {"END"}));
  BOOST_CHECK(f.feed_text(0, "END", finish_reason::length) == outcome::ended);
  BOOST_CHECK(f.all.ends(finish_reason::error)[0].reason == finish_reason::stop);
}

BOOST_AUTO_TEST_CASE(an_ending_says_which_token_or_string_has_stopped_the_answer) {
  feeding f(of(4, 4, {"yes", "END", "EN"}));
  f.feed_text(0, "the END");
  f.feed_text(1, "the EN", finish_reason::stop);
  f.feed_text(2, "ab", finish_reason::stop);
  f.feed_text(3, "ab", finish_reason::length);
  const auto ends = f.all.ends(finish_reason::error);
  BOOST_CHECK(ends[0].stopped_by == stop_cause("EN"));
  BOOST_CHECK(ends[1].stopped_by == stop_cause(token_of('N'))); // Which has no text.
  BOOST_CHECK(ends[2].stopped_by == stop_cause(token_of('b')));
  BOOST_CHECK(ends[3].stopped_by == stop_cause());
  BOOST_CHECK(f.all.stopped_by() == ends[0].stopped_by);
}

BOOST_AUTO_TEST_CASE(an_answer_that_ends_without_tokens_is_its_echo) {
  feeding f(of(2, 2));
  f.all.echo("prompt");
  for (std::uint32_t choice : {0, 1})
    BOOST_CHECK(f.all.take(choice, 0, no_token, finish_reason::length, nullptr, f.out) == outcome::ended);
  BOOST_TEST(f.all.all_ended());
  BOOST_TEST(f.all.generated() == 0u);
  BOOST_REQUIRE(f.out.size() == 2u);
  BOOST_TEST(f.text(0) == "prompt");
  BOOST_TEST(f.text(1) == "prompt");
  BOOST_TEST(f.out[0].token_ids.empty());
  const auto ends = f.all.ends(finish_reason::error);
  BOOST_CHECK(ends[1].reason == finish_reason::length);
  BOOST_TEST(ends[1].completion_tokens == 0u);
}

BOOST_AUTO_TEST_CASE(an_answer_that_ends_without_tokens_and_echo_sends_nothing) {
  feeding f(of(1, 1));
  f.all.take(0, 0, no_token, finish_reason::length, nullptr, f.out);
  BOOST_TEST(f.all.all_ended());
  BOOST_TEST(f.out.empty());
}

BOOST_AUTO_TEST_CASE(an_echo_is_in_front_of_every_answer_once) {
  feeding f(of(2, 2));
  f.all.echo("prompt ");
  f.feed_text(1, "xy");
  f.feed_text(0, "a");
  BOOST_TEST(f.text(0) == "prompt a");
  BOOST_TEST(f.text(1) == "prompt xy");
}

BOOST_AUTO_TEST_CASE(an_echo_is_in_the_first_delta_whatever_that_has) {
  feeding f(of(1, 1));
  f.all.echo("prompt ");
  std::vector<token_logprob> logprobs(3);
  f.all.take_prompt_logprobs(1, logprobs, f.out);
  BOOST_REQUIRE(f.out.size() == 1u);
  BOOST_TEST(f.out[0].text == "prompt ");
  f.out.clear(); // sent
  f.feed(0, 'a');
  BOOST_TEST(f.text(0) == "a");
}

BOOST_AUTO_TEST_CASE(a_stop_string_is_not_looked_for_in_the_echo) {
  feeding f(of(1, 1, {"END"}));
  f.all.echo("the EN");
  BOOST_CHECK(f.feed(0, 'D') == outcome::goes_on);
  BOOST_TEST(f.text(0) == "the END");
}

BOOST_AUTO_TEST_CASE(the_best_answers_by_mean_logprob_are_given_at_the_end_and_nothing_before) {
  feeding f(of(2, 4));
  f.all.echo("> ");
  f.feed_text(0, "long and bad", finish_reason::length, -3.0f);
  f.feed_text(1, "good", finish_reason::stop, -1.0f);
  f.feed_text(2, "a longer and better one", finish_reason::length, -0.5f);
  BOOST_TEST(!f.all.all_ended());
  BOOST_TEST(f.all.ends(finish_reason::cancelled).empty()); // none was given
  f.feed_text(3, "good too", finish_reason::length, -1.0f);
  BOOST_TEST(f.all.all_ended());
  BOOST_TEST(f.out.empty());
  f.all.finish(f.out);
  BOOST_REQUIRE(f.out.size() == 2u);
  BOOST_TEST(f.text(0) == "> a longer and better one");
  BOOST_TEST(f.text(1) == "> goo"); // the earlier of equals; and the token that ends it has no text
  BOOST_TEST(f.out[1].token_ids.size() == 4u);
  BOOST_TEST(f.out[0].logprobs.empty()); // they were for the ranking only
  const auto ends = f.all.ends(finish_reason::error);
  BOOST_REQUIRE(ends.size() == 2u);
  BOOST_TEST(ends[0].choice == 0u);
  BOOST_TEST(*ends[0].mean_logprob == -0.5f);
  BOOST_CHECK(ends[1].reason == finish_reason::stop);
  BOOST_TEST(f.all.generated() == 47u);
}

BOOST_AUTO_TEST_CASE(ranked_answers_have_their_logprobs_where_they_were_asked_for) {
  auto options = of(1, 2);
  options.logprobs = true;
  feeding f(options);
  f.feed_text(0, "ab", finish_reason::length, -2.0f);
  f.feed_text(1, "cd", finish_reason::length, -1.0f);
  f.all.finish(f.out);
  BOOST_REQUIRE(f.out.size() == 1u);
  BOOST_REQUIRE(f.out[0].logprobs.size() == 2u);
  BOOST_TEST(f.out[0].logprobs[1].token == token_of('d'));
}

BOOST_AUTO_TEST_CASE(logprobs_go_with_their_tokens) {
  auto options = of(1, 1);
  options.logprobs = true;
  feeding f(options);
  f.feed(0, 'a', {}, -0.25f);
  f.feed(0, 'b', finish_reason::length, -0.75f);
  BOOST_REQUIRE(f.out[0].logprobs.size() == 2u);
  BOOST_TEST(f.out[0].logprobs[1].logprob == -0.75f);
  BOOST_TEST(*f.all.ends(finish_reason::error)[0].mean_logprob == -0.5f);
}

BOOST_AUTO_TEST_CASE(logprobs_of_the_prompt_come_once_and_in_order_although_it_is_computed_again) {
  feeding f(of(1, 1));
  const auto part = [&](std::uint32_t position, std::uint32_t count) {
    std::vector<token_logprob> logprobs;
    for (std::uint32_t i = 0; i < count; ++i)
      logprobs.push_back({static_cast<token_id>(position + i), 0, 1, {}});
    f.all.take_prompt_logprobs(position, logprobs, f.out);
  };
  part(1, 3);
  part(1, 2); // a preempted sequence begins anew
  part(3, 4); // and comes further
  part(9, 1); // a gap: cannot be
  part(7, 1);
  f.feed(0, 'a');
  std::vector<token_id> seen;
  for (const auto& d : f.out)
    for (const auto& l : d.prompt_logprobs)
      seen.push_back(l.token);
  const std::vector<token_id> right{1, 2, 3, 4, 5, 6, 7};
  BOOST_TEST(seen == right, boost::test_tools::per_element());
  BOOST_REQUIRE(f.out.size() == 1u);
  BOOST_TEST(f.out[0].position == 0u);
  BOOST_TEST(f.out[0].token_ids.size() == 1u);
}

BOOST_AUTO_TEST_CASE(answers_that_are_ranked_give_the_prompts_logprobs_with_the_best) {
  feeding f(of(1, 2));
  std::vector<token_logprob> logprobs(3);
  f.all.take_prompt_logprobs(1, logprobs, f.out);
  f.feed(0, 'a', finish_reason::length, -2.0f);
  f.feed(1, 'b', finish_reason::length, -1.0f);
  BOOST_TEST(f.out.empty());
  f.all.finish(f.out);
  BOOST_REQUIRE(f.out.size() == 1u);
  BOOST_TEST(f.out[0].text == "b");
  BOOST_TEST(f.out[0].prompt_logprobs.size() == 3u);
}

BOOST_AUTO_TEST_CASE(answers_that_had_not_ended_get_the_reason_that_ends_the_request) {
  feeding f(of(3, 3));
  f.feed_text(1, "ab", finish_reason::length);
  f.feed_text(2, "a");
  const auto ends = f.all.ends(finish_reason::cancelled);
  BOOST_REQUIRE(ends.size() == 3u);
  BOOST_CHECK(ends[0].reason == finish_reason::cancelled);
  BOOST_CHECK(ends[1].reason == finish_reason::length);
  BOOST_TEST(ends[2].completion_tokens == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
