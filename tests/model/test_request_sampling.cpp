#include "model/request_sampling.hpp"

#include <boost/test/unit_test.hpp>

#include "tests/support/tiny_tokens.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(request_sampling)

namespace {

using test::tiny_tokens;

void check_named(const sampling_parameters& sampling, const std::string& field) {
  const auto checked = check_vocabulary(sampling, 100);
  BOOST_REQUIRE(!checked);
  BOOST_CHECK(checked.error().code == errc::invalid_argument);
  BOOST_TEST(checked.error().message.find("'" + field + "'") != std::string::npos, checked.error().message);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_token_that_is_not_in_the_vocabulary_is_named_with_its_field) {
  sampling_parameters s;
  s.logit_bias = {{0, 1.0f}, {99, 1.0f}};
  s.allowed_tokens = {0, 99};
  s.stop_tokens = {99};
  BOOST_CHECK(check_vocabulary(s, 100));
  auto bad = s;
  bad.logit_bias.push_back({100, 1.0f});
  check_named(bad, "logit_bias[2]");
  bad = s;
  bad.allowed_tokens[1] = -1;
  check_named(bad, "allowed_tokens[1]");
  bad = s;
  bad.stop_tokens.push_back(1000000);
  check_named(bad, "stop_tokens[1]");
}

BOOST_AUTO_TEST_CASE(a_bad_word_is_excluded_at_the_beginning_of_a_text_and_after_a_space) {
  const auto& tokens = *tiny_tokens();
  const auto forms = encode_bad_words(tokens, {"hello", "  hello"});
  BOOST_REQUIRE(forms);
  const auto at_start = tokens.encode("hello");
  const auto after_space = tokens.encode(" hello");
  BOOST_CHECK((*forms)[0] == at_start);
  const bool covered = std::equal(at_start.rbegin(), at_start.rend(), after_space.rbegin());
  BOOST_TEST(forms->size() == (covered ? 1u : 2u)); // the same word twice is excluded once
  if (!covered)
    BOOST_CHECK((*forms)[1] == after_space);
}

BOOST_AUTO_TEST_CASE(a_bad_word_of_nothing_is_an_error_that_names_it) {
  for (const auto* word : {"", "   "}) {
    const auto forms = encode_bad_words(*tiny_tokens(), {"hello", word});
    BOOST_REQUIRE(!forms);
    BOOST_CHECK(forms.error().code == errc::invalid_argument);
    BOOST_TEST(forms.error().message.find("'bad_words[1]'") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(every_parameter_reaches_the_sampler) {
  sampling_parameters s;
  s.temperature = 0.5f, s.seed = 7, s.top_k = 8, s.top_p = 0.9f, s.min_p = 0.1f, s.typical_p = 0.8f;
  s.repetition_penalty = 1.5f, s.presence_penalty = 0.25f, s.frequency_penalty = 0.125f;
  s.min_tokens = 3, s.logprobs = 4, s.prompt_logprobs = 5;
  s.logit_bias = {{1, 2.0f}}, s.allowed_tokens = {1, 2};
  const std::vector<std::vector<token_id>> bad_words{{1}, {2, 3}};
  sequence_sampling right;
  right.temperature = 0.5f, right.seed = 7, right.top_k = 8, right.top_p = 0.9f, right.min_p = 0.1f;
  right.typical_p = 0.8f, right.repetition_penalty = 1.5f, right.presence_penalty = 0.25f;
  right.frequency_penalty = 0.125f, right.min_tokens = 3, right.logprobs = 4, right.prompt_logprobs = 5;
  right.logit_bias = {{1, 2.0f}}, right.allowed_tokens = {1, 2}, right.bad_words = bad_words;
  right.end_tokens = {50, 51};
  const std::vector<token_id> model_ends{50, 51};
  BOOST_CHECK(sequence_sampling_of(s, bad_words, model_ends, 0, false) == right);
  right.choice = 2;
  right.prompt_logprobs = -1; // the first answer's affair
  BOOST_CHECK(sequence_sampling_of(s, bad_words, model_ends, 2, false) == right);
}

BOOST_AUTO_TEST_CASE(an_answer_ends_with_its_stop_tokens_and_those_of_the_model_unless_they_are_ignored) {
  const std::vector<token_id> model_ends{50, 51};
  sampling_parameters s;
  s.stop_tokens = {7, 51, 7};
  BOOST_TEST(sequence_sampling_of(s, {}, model_ends, 0, false).end_tokens == (std::vector<token_id>{50, 51, 7}),
             boost::test_tools::per_element());
  s.ignore_eos = true;
  BOOST_TEST(sequence_sampling_of(s, {}, model_ends, 0, false).end_tokens == (std::vector<token_id>{7, 51}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(answers_that_are_ranked_have_logprobs_without_being_asked) {
  sampling_parameters s;
  BOOST_TEST(sequence_sampling_of(s, {}, {}, 0, true).logprobs == 0);
  BOOST_TEST(sequence_sampling_of(s, {}, {}, 0, false).logprobs == -1);
  s.logprobs = 3;
  BOOST_TEST(sequence_sampling_of(s, {}, {}, 0, true).logprobs == 3);
}

BOOST_AUTO_TEST_SUITE_END()
