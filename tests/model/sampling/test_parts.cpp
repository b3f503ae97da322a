// Rows that several ranks share: the parts' proposals decide what the whole row would.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <limits>
#include <memory>

#include "model/sampling/sampler.hpp"
#include "tests/model/sampling/random_rows.hpp"

using namespace troupe;
using namespace troupe::tests;

BOOST_AUTO_TEST_SUITE(parts_suite)

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// One row, and how its tokens are chosen.
struct row_case {
  std::vector<float> row;
  sequence_sampling sampling;
  std::vector<token_id> history;
  std::uint32_t prompt = 0;
  std::vector<std::uint32_t> mask;

  sequence_sampler sampler() const { return {std::make_shared<const sequence_sampling>(sampling), prompt, history}; }
  std::uint32_t position() const { return static_cast<std::uint32_t>(history.size()); }
};

/// The token, or the sentence that says why there is none.
std::string told(const expected<token_id>& token) {
  return token ? std::to_string(*token) : token.error().message;
}

std::string from_the_whole(const row_case& c, sampling_workspace& room) {
  return told(c.sampler().sample(c.row, c.position(), room, c.mask));
}

/// looked: the ranks' devices know what is largest of each block.
std::string from_parts(const row_case& c, std::size_t parts, bool looked, sampling_workspace& room) {
  const auto sampler = c.sampler();
  const std::size_t each = sampler.proposals(), blocks = sampling::blocks_of(c.row.size());
  std::vector<proposal> all(parts * each);
  for (std::size_t p = 0; p < parts; ++p) {
    const auto begin = blocks * p / parts * sampling::block_tokens,
               end = std::min(c.row.size(), blocks * (p + 1) / parts * sampling::block_tokens);
    row_part part{std::span(c.row).subspan(begin, end - begin), static_cast<token_id>(begin)};
    std::vector<float> largest(sampling::blocks_of(end - begin));
    room.kernels->scan(part.logits.data(), part.logits.size(), largest.data());
    if (looked)
      part.block_largest = largest;
    const auto done = sampler.propose(part, c.position(), room, std::span(all).subspan(p * each, each), c.mask);
    BOOST_TEST_REQUIRE(done.has_value());
  }
  return told(sampler.decide(all, c.position(), room));
}

/// Temperature or none, with everything that acts on single logits, and a top-k in half of the cases.
row_case random_case(random_rows& random, std::size_t vocabulary) {
  row_case c{
    random.row(vocabulary), random.truncation(vocabulary), random.tokens(random.below(30), vocabulary), 0, {}};
  auto& s = c.sampling;
  if (random.one_in(2)) {
    s.top_k = static_cast<std::uint32_t>(1 + random.below(random.one_in(3) ? max_proposals : 20));
  } else {
    s.top_k = 0;
    s.top_p = s.typical_p = 1;
    s.min_p = 0;
  }
  if (random.one_in(3))
    s.temperature = 0;
  c.prompt = static_cast<std::uint32_t>(random.below(c.history.size() + 1));
  if (random.one_in(3)) {
    s.repetition_penalty = 1.3f;
    s.frequency_penalty = 0.4f;
    s.presence_penalty = -0.2f;
  }
  if (random.one_in(3))
    s.bad_words = {random.tokens(1, vocabulary), random.tokens(2, vocabulary)};
  if (random.one_in(3)) {
    s.min_tokens = 20;
    s.end_tokens = random.tokens(3, vocabulary);
  }
  if (random.one_in(3))
    for (const auto token : random.tokens(20, vocabulary))
      s.logit_bias.push_back({token, random.normal(5)});
  if (random.one_in(5))
    s.allowed_tokens = random.tokens(1 + random.below(20), vocabulary);
  if (random.one_in(5))
    for (std::size_t i = 0; i < sampling::blocks_of(vocabulary); ++i)
      c.mask.push_back(random.one_in(2) ? 0 : static_cast<std::uint32_t>(random.below(1ull << 32)));
  return c;
}

} // namespace

BOOST_AUTO_TEST_CASE(any_number_of_parts_decides_on_the_token_of_the_whole_row) {
  random_rows random(1);
  int tokens = 0, none = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::size_t vocabulary = round % 20 == 0 ? 20000 : 1 + random.below(round % 2 ? 200 : 3000);
    const auto c = random_case(random, vocabulary);
    BOOST_TEST_REQUIRE(c.sampler().proposals() > 0);
    for (auto vectors : available_vectors()) {
      sampling_workspace room(static_cast<std::uint32_t>(vocabulary), vectors);
      const auto wanted = from_the_whole(c, room);
      (wanted.front() == 'N' ? none : tokens) += 1;
      for (std::size_t parts : {1u, 2u, 3u, 7u})
        if (parts <= sampling::blocks_of(vocabulary))
          BOOST_TEST(from_parts(c, parts, round % 3 != 0, room) == wanted,
                     parts << " parts of " << vocabulary << ", case " << round << ", " << room.kernels->name);
    }
  }
  BOOST_TEST(none > 20);
  BOOST_TEST(tokens > 4000);
}

BOOST_AUTO_TEST_CASE(the_lowest_of_equal_tokens_wins_whichever_parts_have_them) {
  sampling_workspace room(320);
  for (const float value : {0.0f, 1.0f, -3.0f})
    for (token_id first : {3, 40, 200}) {
      row_case c{std::vector<float>(320, -10.0f), {}, {}, 0, {}};
      for (const token_id token : {first, 201, 300})
        c.row[static_cast<std::size_t>(token)] = value;
      if (value == 0)
        c.row[201] = -0.0f;
      for (std::size_t parts : {1u, 2u, 5u, 10u})
        BOOST_TEST(from_parts(c, parts, true, room) == std::to_string(first));
    }
}

BOOST_AUTO_TEST_CASE(noise_that_is_rounded_to_ties_decides_as_in_the_whole_row) {
  sampling_workspace room(320);
  for (const float logit : {0x1p50f, 0x1p53f, -0x1p54f, 0x1p100f, std::numeric_limits<float>::max()})
    for (const float temperature : {1.0f, 1e-30f, std::numeric_limits<float>::denorm_min()})
      for (std::size_t position = 0; position < 30; ++position) {
        row_case c{std::vector<float>(320, logit), {}, {}, 0, {}};
        c.sampling.temperature = temperature;
        c.history.assign(position, 1);
        for (std::size_t parts : {2u, 5u})
          BOOST_TEST(from_parts(c, parts, true, room) == from_the_whole(c, room));
      }
}

BOOST_AUTO_TEST_CASE(what_is_no_number_in_any_part_is_reported_as_in_the_whole_row) {
  random_rows random(3);
  for (int round = 0; round < 600; ++round) {
    const std::size_t vocabulary = 33 + random.below(400);
    auto c = random_case(random, vocabulary);
    // Also where nothing may be sampled from it: a token that is not allowed, or a bad one.
    c.row[random.below(vocabulary)] = random.one_in(2) ? infinity : std::numeric_limits<float>::quiet_NaN();
    sampling_workspace room(static_cast<std::uint32_t>(vocabulary));
    const auto wanted = from_the_whole(c, room);
    for (std::size_t parts : {2u, 3u})
      if (parts <= sampling::blocks_of(vocabulary))
        BOOST_TEST(from_parts(c, parts, round % 2 == 0, room) == wanted);
  }
}

BOOST_AUTO_TEST_CASE(only_shares_of_probability_without_a_small_top_k_want_the_whole_row) {
  const auto proposals = [](auto change) {
    sequence_sampling s;
    s.temperature = 1;
    change(s);
    return sequence_sampler(std::make_shared<const sequence_sampling>(s), 0).proposals();
  };
  BOOST_TEST(proposals([](auto&) {}) == 1u);
  BOOST_TEST(proposals([](auto& s) { s.top_k = 40; }) == 40u);
  BOOST_TEST(proposals([](auto& s) { s.top_k = 40, s.top_p = 0.9f, s.min_p = 0.1f, s.typical_p = 0.9f; }) == 40u);
  BOOST_TEST(proposals([](auto& s) { s.top_k = max_proposals + 1; }) == 0u);
  BOOST_TEST(proposals([](auto& s) { s.top_p = 0.9f; }) == 0u);
  BOOST_TEST(proposals([](auto& s) { s.min_p = 0.1f; }) == 0u);
  BOOST_TEST(proposals([](auto& s) { s.typical_p = 0.9f; }) == 0u);
  BOOST_TEST(proposals([](auto& s) { s.temperature = 0, s.top_p = 0.9f, s.min_p = 0.1f; }) == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
