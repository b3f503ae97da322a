// A sequence's sampler over time: accepting, taking back, drafts, resuming.
#include <boost/test/unit_test.hpp>

#include <memory>

#include "model/sampling/sampler.hpp"
#include "tests/model/sampling/random_rows.hpp"

using namespace troupe;
using namespace troupe::tests;

BOOST_AUTO_TEST_SUITE(sequence_suite)

namespace {

constexpr std::uint32_t vocabulary = 300, prompt_length = 6;

/// A model: logits are a function of the last token and the position.
std::vector<float> logits_after(token_id token, std::uint32_t position) {
  return random_rows(static_cast<std::uint64_t>(token) * 1000 + position).row(vocabulary);
}

sequence_sampling all_of_history() {
  sequence_sampling s;
  s.temperature = 2;
  s.seed = 11;
  s.repetition_penalty = 1.2f;
  s.frequency_penalty = 0.7f;
  s.presence_penalty = 0.3f;
  s.bad_words = {{1, 2}, {3}};
  return s;
}

struct sequence {
  std::vector<token_id> tokens{1, 2, 3, 4, 5, 6};
  sequence_sampler sampler;
  sampling_workspace room{vocabulary};

  explicit sequence(const sequence_sampling& s)
      : sampler(std::make_shared<const sequence_sampling>(s), prompt_length, tokens) {}

  token_id sample() {
    const auto position = static_cast<std::uint32_t>(tokens.size());
    return sampler.sample(logits_after(tokens.back(), position), position, room).value();
  }
  void accept(token_id token) {
    tokens.push_back(token);
    sampler.accept(token);
  }
  void generate(int count) {
    for (int i = 0; i < count; ++i)
      accept(sample());
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(sampling_twice_before_accepting_gives_the_same_token) {
  sequence a(all_of_history());
  a.generate(5);
  const auto token = a.sample();
  BOOST_TEST(a.sample() == token);
}

BOOST_AUTO_TEST_CASE(a_sampler_made_from_the_history_goes_on_as_one_that_has_seen_it) {
  sequence a(all_of_history()), b(all_of_history());
  a.generate(20);
  b.tokens = a.tokens;
  b.sampler = sequence_sampler(std::make_shared<const sequence_sampling>(all_of_history()), prompt_length, b.tokens);
  a.generate(20);
  b.generate(20);
  BOOST_TEST(a.tokens == b.tokens, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(tokens_taken_back_leave_no_trace) {
  sequence a(all_of_history()), b(all_of_history());
  a.generate(10);
  b.generate(4);
  for (token_id wrong : {7, 7, 9, 1})
    b.accept(wrong);
  b.tokens.resize(prompt_length + 4);
  b.sampler.truncate(prompt_length + 4);
  b.generate(6);
  BOOST_TEST(a.tokens == b.tokens, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(drafts_that_are_checked_row_by_row_change_no_token) {
  sequence a(all_of_history()), b(all_of_history());
  a.generate(30);
  random_rows random(5);
  while (b.tokens.size() < a.tokens.size()) {
    // Three guesses, of which some are what will be sampled. Their rows depend on them alone.
    std::vector<token_id> drafts;
    for (std::size_t i = b.tokens.size(); i < b.tokens.size() + 3 && i < a.tokens.size(); ++i)
      drafts.push_back(random.one_in(3) ? 299 : a.tokens[i]);
    for (std::size_t i = 0; i <= drafts.size() && b.tokens.size() < a.tokens.size(); ++i) {
      const auto token = b.sample();
      b.accept(token);
      if (i < drafts.size() && token != drafts[i])
        break;
    }
  }
  BOOST_TEST(a.tokens == b.tokens, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_workspace_carries_nothing_from_one_row_to_another) {
  random_rows random(6);
  sampling_workspace shared(vocabulary);
  for (int round = 0; round < 300; ++round) {
    const auto row = random.row(vocabulary);
    auto s = random.truncation(vocabulary);
    if (random.one_in(3))
      s.allowed_tokens = random.tokens(40, vocabulary);
    const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
    sampling_workspace fresh(vocabulary);
    const auto a = sampler.sample(row, 3, shared), b = sampler.sample(row, 3, fresh);
    BOOST_TEST((a == b));
  }
}

BOOST_AUTO_TEST_CASE(temperature_alone_gives_the_tokens_of_the_plain_function) {
  random_rows random(7);
  sampling_workspace room(5000);
  for (int round = 0; round < 200; ++round) {
    const auto row = random.row(5000);
    sequence_sampling s;
    s.temperature = 0.25f * static_cast<float>(round % 9);
    s.seed = random.below(100);
    const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
    BOOST_TEST(sampler.sample(row, 17, room).value() == sample(row, s, 17));
  }
}

BOOST_AUTO_TEST_CASE(scores_so_large_that_noise_is_rounded_to_ties_are_decided_as_by_the_plain_function) {
  sampling_workspace room(vocabulary);
  sequence_sampling s;
  s.temperature = 1;
  const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
  for (const float logit : {0x1p50f, 0x1p53f, 0x1p54f, -0x1p54f, 0x1p100f}) {
    const std::vector<float> row(vocabulary, logit);
    for (std::uint32_t position = 0; position < 50; ++position)
      BOOST_TEST(sampler.sample(row, position, room).value() == sample(row, s, position));
  }
}

BOOST_AUTO_TEST_SUITE_END()
