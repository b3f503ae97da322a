// Tokens that the device samples are the CPU sampler's, and so are their logprobs, bit for bit.
#include "tests/gpu/sampling_fixture.hpp"

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using troupe::tests::random_rows;

namespace {

constexpr float no_number = std::numeric_limits<float>::quiet_NaN();
constexpr float without_end = std::numeric_limits<float>::infinity();

/// Any parameters, with any of what changes logits.
sampled_row random_row(random_rows& random, std::size_t vocabulary, std::uint32_t logits) {
  sampled_row row{logits, random.truncation(vocabulary), 0, random.tokens(random.below(40), vocabulary), {}};
  auto& s = row.sampling;
  row.prompt_tokens = static_cast<std::uint32_t>(random.below(row.tokens.size() + 1));
  if (random.one_in(5))
    s.temperature = 0;
  if (random.one_in(3)) {
    s.repetition_penalty = random.one_in(2) ? 1.3f : 0.7f;
    s.frequency_penalty = 0.4f;
    s.presence_penalty = -0.2f;
  }
  if (random.one_in(3))
    s.bad_words = {random.tokens(1, vocabulary), random.tokens(2, vocabulary)};
  if (random.one_in(3)) {
    s.min_tokens = 50;
    s.end_tokens = random.tokens(2, vocabulary);
  }
  if (random.one_in(3))
    for (const auto token : random.tokens(20, vocabulary)) // Some of them more than once, in small vocabularies.
      s.logit_bias.push_back({token, random.normal(3)});
  if (random.one_in(4))
    s.allowed_tokens = random.tokens(1 + vocabulary / 2, vocabulary);
  if (random.one_in(4))
    for (std::size_t i = 0; i < (vocabulary + 31) / 32; ++i)
      row.mask.push_back(static_cast<std::uint32_t>(random.below(1ull << 32)));
  if (random.one_in(8) && !row.mask.empty())
    row.mask.resize(row.mask.size() / 2 + 1);
  if (random.one_in(2))
    s.logprobs = static_cast<std::int32_t>(random.below(21));
  return row;
}

} // namespace

BOOST_AUTO_TEST_SUITE(sampling_suite)

BOOST_AUTO_TEST_CASE(rows_of_all_kinds_are_sampled_as_on_the_cpu) {
  random_rows random(1);
  for (std::uint32_t round = 0; round < 40; ++round) {
    const auto vocabulary = round < 36 ? 1 + random.below(round % 3 == 0 ? 1100 : 130) : 5000 + random.below(100);
    std::vector<std::vector<float>> logits;
    std::vector<sampled_row> rows;
    for (std::uint32_t i = 0; i < 6; ++i) {
      logits.push_back(random.row(vocabulary));
      rows.push_back(random_row(random, vocabulary, i));
    }
    sampling_fixture f(round, logits, round % 2);
    f.expect_as_cpu(rows);
  }
}

BOOST_AUTO_TEST_CASE(every_setting_of_temperature_top_k_top_p_and_min_p_takes_the_cpus_token) {
  random_rows random(2);
  std::vector<float> logits(1000);
  for (auto& logit : logits)
    logit = random.normal(2.5f);
  std::vector<sampled_row> rows;
  for (const float temperature : {0.0f, 0.1f, 0.8f, 2.0f})
    for (const std::uint32_t top_k : {0u, 1u, 2u, 50u, 200u})
      for (const float top_p : {0.01f, 0.9f, 0.999f, 1.0f})
        for (const float min_p : {0.0f, 0.02f}) {
          sampled_row row;
          row.sampling.temperature = temperature;
          row.sampling.top_k = top_k;
          row.sampling.top_p = top_p;
          row.sampling.min_p = min_p;
          row.sampling.seed = rows.size();
          rows.push_back(row);
        }
  sampling_fixture f(2, {logits});
  f.expect_as_cpu(rows);
}

BOOST_AUTO_TEST_CASE(large_vocabularies_are_sampled_as_on_the_cpu) {
  random_rows random(3);
  for (const std::uint32_t vocabulary : {49152u, 151936u}) {
    std::vector<float> peaked(vocabulary), flat(vocabulary);
    for (auto& logit : peaked)
      logit = random.normal(2.5f);
    for (int i = 0; i < 40; ++i)
      peaked[random.below(vocabulary)] = 18.0f - 0.3f * static_cast<float>(i);
    for (auto& logit : flat)
      logit = random.normal(0.5f);
    std::vector<sampled_row> rows(7);
    for (std::uint32_t i = 1; i < rows.size(); ++i) {
      rows[i].sampling.temperature = 0.8f;
      rows[i].sampling.seed = i;
    }
    rows[2].sampling.top_p = 0.95f;
    rows[3].sampling.top_k = 40;
    rows[3].sampling.top_p = 0.9f;
    rows[4].logits = rows[5].logits = rows[6].logits = 1;
    rows[4].sampling.top_p = 0.9f;
    rows[5].sampling.min_p = 0.1f;
    rows[6].sampling.typical_p = 0.5f;
    rows[1].sampling.logprobs = 20;
    rows[4].sampling.logprobs = 5;
    sampling_fixture f(vocabulary, {peaked, flat});
    f.expect_as_cpu(rows);
  }
}

BOOST_AUTO_TEST_CASE(a_cut_that_were_off_by_one_would_be_seen) {
  // Logits so close that each of what is left is drawn about as often, and ties, which are parted by their ids.
  random_rows random(4);
  std::vector<float> near(1000), tied(1000, 0.5f);
  for (auto& logit : near)
    logit = 10 + random.normal(0.01f);
  for (std::size_t i = 0; i < tied.size(); i += 3)
    tied[i] = -0.5f;
  const auto with = [](std::uint32_t logits, std::uint32_t seed, std::uint32_t top_k, float top_p) {
    sampled_row row;
    row.logits = logits;
    row.sampling.temperature = 1;
    row.sampling.seed = seed;
    row.sampling.top_k = top_k;
    row.sampling.top_p = top_p;
    return row;
  };
  std::vector<sampled_row> rows, one_less, one_more;
  for (std::uint32_t seed = 0; seed < 32; ++seed)
    for (const std::uint32_t logits : {0u, 1u}) {
      rows.push_back(with(logits, seed, 5, 1));
      one_less.push_back(with(logits, seed, 4, 1));
      one_more.push_back(with(logits, seed, 6, 1));
      // A tied token has the share 1 / (666 + 334 / e).
      rows.push_back(with(logits, seed, 0, 6.5f / 789));
      one_less.push_back(with(logits, seed, 0, 5.5f / 789));
      one_more.push_back(with(logits, seed, 0, 7.5f / 789));
    }
  const std::vector<std::vector<float>> logits = {near, tied};
  sampling_fixture f(4, logits);
  const auto found = f.expect_as_cpu(rows);
  for (const auto* others : {&one_less, &one_more})
    for (std::size_t kind = 0; kind < 4; ++kind) {
      std::size_t different = 0;
      for (auto i = kind; i < rows.size(); i += 4)
        different += sampled_by_cpu((*others)[i], logits[rows[i].logits]).token != found[i].token;
      BOOST_TEST(different >= 2, "kind " << kind);
    }
}

BOOST_AUTO_TEST_CASE(equal_logits_are_cut_by_their_ids_whatever_has_the_weight) {
  std::vector<sampled_row> rows;
  for (std::uint32_t seed = 0; seed < 6; ++seed)
    for (const float share : {0.003f, 0.25f, 0.9999f}) {
      sampled_row row;
      row.sampling.temperature = 0.5f;
      row.sampling.seed = seed;
      rows.push_back(row);
      rows.back().sampling.top_p = share;
      rows.push_back(row);
      rows.back().sampling.typical_p = share;
      rows.push_back(row);
      rows.back().sampling.top_k = 1 + seed * 190;
      rows.push_back(row);
      rows.back().sampling.min_p = share;
    }
  sampling_fixture f(5, {std::vector<float>(1000, -3.25f)});
  f.expect_as_cpu(rows);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_sampled_says_why_and_leaves_other_rows_alone) {
  const std::vector<float> whole = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  auto broken = whole, endless = whole, empty = whole;
  broken[3] = no_number;
  endless[8] = without_end;
  empty.assign(empty.size(), -without_end);
  std::vector<sampled_row> rows(8);
  for (std::uint32_t i = 0; i < rows.size(); ++i) {
    rows[i].sampling.temperature = i % 2 == 0 ? 0.0f : 1.0f;
    rows[i].sampling.logprobs = 2;
    rows[i].logits = i;
  }
  rows[4].mask = {1};                    // What is no number is masked, and yet it is damaged.
  rows[5].sampling.allowed_tokens = {3}; // And what is allowed is banned.
  rows[5].sampling.end_tokens = {3};
  rows[5].sampling.min_tokens = 1;
  rows[6].sampling.logit_bias = {{8, 3e38f}, {8, 3e38f}}; // More than a float has.
  rows[7].sampling.logit_bias = {{8, 3e38f}, {8, 3e38f}}; // The same, of a masked token.
  rows[7].mask = {0xff};
  sampling_fixture f(6, {whole, broken, endless, empty, broken, whole, whole, whole});
  const auto found = f.expect_as_cpu(rows);
  using enum sampling_status;
  const sampling_status wanted[] = {sampled, damaged, damaged, none_left, damaged, none_left, damaged, sampled};
  for (std::size_t i = 0; i < rows.size(); ++i)
    BOOST_TEST((found[i].status == wanted[i]), "row " << i);
}

BOOST_AUTO_TEST_CASE(logits_are_the_models_own_again_where_logprobs_are_wanted) {
  random_rows random(7);
  std::vector<std::vector<float>> logits;
  std::vector<sampled_row> rows;
  for (std::uint32_t i = 0; i < 8; ++i) {
    logits.push_back(random.row(64));
    rows.push_back(random_row(random, 64, i));
    rows.back().sampling.logprobs = 3;
    rows.back().sampling.logit_bias = {{5, 1.1f}, {5, -0.3f}, {5, 0.7f}};
    rows.back().sampling.repetition_penalty = 1.7f;
    rows.back().tokens = {5, 6, 7, 5};
  }
  sampling_fixture f(7, logits);
  f.expect_as_cpu(rows);
  std::vector<float> all;
  for (const auto& row : logits)
    all.insert(all.end(), row.begin(), row.end());
  const auto after = f.download(global<float>{f.buffers.logits}, all.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    BOOST_TEST(bits_as<std::uint32_t>(after[i]) == bits_as<std::uint32_t>(all[i]));
}

BOOST_AUTO_TEST_CASE(a_prompts_own_tokens_are_judged_as_on_the_cpu) {
  random_rows random(8);
  std::vector<std::vector<float>> logits;
  for (int i = 0; i < 6; ++i)
    logits.push_back(random.row(300));
  sampling_fixture f(8, logits);
  const auto tokens = random.tokens(logits.size(), 300);
  for (std::uint32_t i = 0; i < logits.size(); ++i)
    f.step.judge(i, tokens[i], static_cast<std::int32_t>(i * 4));
  const auto found = f.run();
  sampling_workspace room(300);
  for (std::uint32_t i = 0; i < logits.size(); ++i)
    BOOST_TEST(told(found[i]) ==
               told({sampling_status::sampled, tokens[i], logprob_of(logits[i], tokens[i], i * 4, room).value()}));
}

BOOST_AUTO_TEST_SUITE_END()
