// What the sampler leaves and takes, against the plain reference.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <memory>

#include "model/sampling/sampler.hpp"
#include "model/sampling/survivors.hpp"
#include "tests/model/sampling/random_rows.hpp"
#include "tests/model/sampling/sampling_reference.hpp"

using namespace troupe;
using namespace troupe::tests;

BOOST_AUTO_TEST_SUITE(reference_suite)

namespace {

std::vector<bool> left_of(const sequence_sampling& s, std::span<const float> row, sampling_workspace& room) {
  const auto largest = room.kernels->scan(row.data(), row.size(), room.block_largest.data());
  const auto left = sampling::survivors_of(s, row, largest, room);
  std::vector<bool> out(row.size());
  if (left.as == sampling::survivors::form::kept)
    for (std::size_t i = 0; i < room.kept.count; ++i)
      out[static_cast<std::size_t>(room.kept.ids[i])] = true;
  else
    for (std::size_t i = 0; i < row.size(); ++i)
      out[i] = row[i] >= std::numeric_limits<float>::lowest() && left.keeps(row[i], static_cast<token_id>(i));
  return out;
}

std::string describe(const sequence_sampling& s, std::size_t vocabulary) {
  return "vocabulary " + std::to_string(vocabulary) + ", temperature " + std::to_string(s.temperature) + ", top_k " +
         std::to_string(s.top_k) + ", top_p " + std::to_string(s.top_p) + ", min_p " + std::to_string(s.min_p) +
         ", typical_p " + std::to_string(s.typical_p);
}

struct tally {
  int cases = 0, close = 0;
};

void compare(random_rows& random, const std::vector<float>& row, const sequence_sampling& s, tally& sum) {
  const auto vocabulary = row.size();
  const auto history = random.tokens(random.below(5), vocabulary);
  const auto wanted = sample_by_reference({row, s, 0, history, {}});
  ++sum.cases;
  sum.close += wanted.is_close;
  if (wanted.is_close)
    return;
  const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
  for (auto vectors : available_vectors()) {
    sampling_workspace room(static_cast<std::uint32_t>(vocabulary), vectors);
    const auto left = left_of(s, row, room);
    BOOST_TEST((left == wanted.left), room.kernels->name << ": other tokens are left: " << describe(s, vocabulary)
                                                         << ": " << std::count(left.begin(), left.end(), true)
                                                         << " for "
                                                         << std::count(wanted.left.begin(), wanted.left.end(), true));
    const auto token = sampler.sample(row, static_cast<std::uint32_t>(history.size()), room);
    BOOST_TEST_REQUIRE(token.has_value());
    BOOST_TEST(*token == wanted.token, room.kernels->name << ": another token: " << describe(s, vocabulary));
    std::vector<float> largest(sampling::blocks_of(vocabulary));
    room.kernels->scan(row.data(), row.size(), largest.data());
    BOOST_TEST(
      (sampler.sample(row, static_cast<std::uint32_t>(history.size()), room, {}, largest).value() == *token));
  }
}

void compare(random_rows& random, std::size_t vocabulary, tally& sum) {
  const auto row = random.row(vocabulary);
  compare(random, row, random.truncation(vocabulary), sum);
}

} // namespace

BOOST_AUTO_TEST_CASE(random_rows_of_small_vocabularies_are_sampled_as_by_the_plain_reference) {
  random_rows random(1);
  tally sum;
  for (int round = 0; round < 250; ++round)
    for (std::size_t vocabulary : {1u, 2u, 3u, 5u, 17u, 31u, 32u, 33u, 64u, 100u, 333u, 1000u})
      compare(random, vocabulary, sum);
  BOOST_TEST_MESSAGE(sum.close << " of " << sum.cases << " were too close to compare");
  BOOST_TEST(sum.close * 10 < sum.cases);
}

BOOST_AUTO_TEST_CASE(random_rows_of_large_vocabularies_are_sampled_as_by_the_plain_reference) {
  random_rows random(2);
  tally sum;
  for (int round = 0; round < 40; ++round)
    for (std::size_t vocabulary : {3000u, 5001u, 20000u, 40000u})
      compare(random, vocabulary, sum);
  BOOST_TEST_MESSAGE(sum.close << " of " << sum.cases << " were too close to compare");
  BOOST_TEST(sum.close * 4 < sum.cases);
}

// The likeliest tokens have enough weight, but others, which are first left aside, can be nearer to the entropy.
BOOST_AUTO_TEST_CASE(typical_tokens_are_also_found_below_the_likeliest) {
  random_rows random(5);
  tally sum;
  for (int round = 0; round < 300; ++round) {
    std::vector<float> row(2500 + random.below(3000));
    for (auto& logit : row)
      logit = random.normal(1);
    for (int likely = 0; likely < 60; ++likely)
      row[random.below(row.size())] = 4 + random.normal(1.5f);
    sequence_sampling s;
    s.temperature = 1.0f / (1 + 0.1f * static_cast<float>(random.below(15)));
    s.typical_p = 0.05f * static_cast<float>(1 + random.below(15));
    compare(random, row, s, sum);
  }
  BOOST_TEST(sum.close * 4 < sum.cases);
}

BOOST_AUTO_TEST_CASE(every_instruction_set_takes_the_same_token_also_where_a_cut_is_close) {
  random_rows random(3);
  for (int round = 0; round < 300; ++round) {
    const std::size_t vocabulary = round % 4 == 0 ? 20000 : 1 + random.below(600);
    const auto row = random.row(vocabulary);
    const auto s = random.truncation(vocabulary);
    const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), 0);
    std::vector<token_id> tokens;
    std::vector<std::vector<bool>> left;
    for (auto vectors : available_vectors()) {
      sampling_workspace room(static_cast<std::uint32_t>(vocabulary), vectors);
      left.push_back(left_of(s, row, room));
      tokens.push_back(sampler.sample(row, 9, room).value());
    }
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      BOOST_TEST(tokens[i] == tokens[0]);
      BOOST_TEST((left[i] == left[0]));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_cut_among_equal_logits_keeps_the_lowest_ids) {
  const auto left = [](std::size_t vocabulary, auto change) {
    sequence_sampling s;
    s.temperature = 1;
    change(s);
    sampling_workspace room(static_cast<std::uint32_t>(vocabulary));
    const auto bits = left_of(s, std::vector<float>(vocabulary, -1.5f), room);
    const auto count = std::count(bits.begin(), bits.end(), true);
    BOOST_TEST(std::count(bits.begin(), bits.begin() + count, true) == count);
    return count;
  };
  for (std::size_t vocabulary : {4u, 100u, 40000u}) {
    const auto half = static_cast<std::ptrdiff_t>(vocabulary / 2);
    BOOST_TEST(left(vocabulary, [](auto& s) { s.top_k = 3; }) == 3);
    BOOST_TEST(left(vocabulary, [](auto& s) { s.top_p = 0.5f; }) == half);
    BOOST_TEST(left(vocabulary, [](auto& s) { s.typical_p = 0.5f; }) == half);
    BOOST_TEST(left(vocabulary, [](auto& s) { s.top_p = 0.5f, s.typical_p = 0.5f; }) == half / 2);
    BOOST_TEST(left(vocabulary, [](auto& s) { s.min_p = 1; }) == static_cast<std::ptrdiff_t>(vocabulary));
  }
}

// Weights are powers of two, so that every sum is exact in float64 too: here nothing is too close to compare.
BOOST_AUTO_TEST_CASE(a_share_that_is_met_exactly_is_enough) {
  std::vector<float> row{0, 0, 0, 0, -1, -1, -1, -1, -2, -2, -2, -2};
  for (auto& logit : row)
    logit *= 0.6931472f; // Powers of two within 1e-7, which a cut by counts of tokens does not see.
  sequence_sampling s;
  s.temperature = 1;
  s.top_p = 6.0f / 7 + 1e-5f; // 4 + 4 / 2 of 7, and a little.
  sampling_workspace room(12);
  auto left = left_of(s, row, room);
  BOOST_TEST(std::count(left.begin(), left.end(), true) == 9);
  s.top_p = 6.0f / 7 - 1e-5f;
  left = left_of(s, row, room);
  BOOST_TEST(std::count(left.begin(), left.end(), true) == 8);
}

BOOST_AUTO_TEST_CASE(processors_of_all_kinds_together_are_applied_in_the_order_of_the_reference) {
  random_rows random(4);
  int none = 0, close = 0;
  for (int round = 0; round < 1500; ++round) {
    const std::size_t vocabulary = 2 + random.below(60);
    const auto row = random.row(vocabulary);
    auto s = random.truncation(vocabulary);
    if (random.one_in(3))
      s.temperature = 0;
    if (random.one_in(2))
      s.allowed_tokens = random.tokens(1 + random.below(20), vocabulary);
    for (auto n = random.below(4); n > 0; --n)
      s.bad_words.push_back(random.tokens(1 + random.below(3), std::min<std::size_t>(vocabulary, 4)));
    for (auto n = random.below(4); n > 0; --n)
      s.logit_bias.push_back({static_cast<token_id>(random.below(vocabulary)), random.normal(3)});
    if (random.one_in(2))
      s.end_tokens = random.tokens(2, vocabulary), s.min_tokens = static_cast<std::uint32_t>(random.below(12));
    if (random.one_in(2))
      s.repetition_penalty = random.one_in(2) ? 1.3f : 0.5f;
    if (random.one_in(2))
      s.frequency_penalty = random.normal(1);
    if (random.one_in(2))
      s.presence_penalty = random.normal(1);
    const auto history = random.tokens(random.below(20), std::min<std::size_t>(vocabulary, 4));
    const auto prompt = static_cast<std::uint32_t>(random.below(history.size() + 1));
    std::vector<bool> mask;
    std::vector<std::uint32_t> words;
    if (random.one_in(3)) {
      mask.resize(vocabulary);
      words.resize((vocabulary + 31) / 32);
      for (std::size_t i = 0; i < vocabulary; ++i)
        if (random.below(4) > 0)
          mask[i] = true, words[i / 32] |= 1u << (i % 32);
    }
    const auto wanted = sample_by_reference({row, s, prompt, history, mask});
    close += wanted.is_close;
    if (wanted.is_close)
      continue;
    sampling_workspace room(static_cast<std::uint32_t>(vocabulary));
    const sequence_sampler sampler(std::make_shared<const sequence_sampling>(s), prompt, history);
    const auto token = sampler.sample(row, static_cast<std::uint32_t>(history.size()), room, words);
    none += wanted.token < 0;
    BOOST_TEST(token.has_value() == (wanted.token >= 0));
    if (token)
      BOOST_TEST(*token == wanted.token, describe(s, vocabulary));
    else
      BOOST_TEST((token.error().code == errc::invalid_argument));
  }
  BOOST_TEST(none > 5);
  BOOST_TEST(none + close < 400);
}

BOOST_AUTO_TEST_SUITE_END()
