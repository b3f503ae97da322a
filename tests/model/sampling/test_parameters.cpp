// Each parameter by itself: a test that fails if it is ignored, and errors.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <set>

#include "model/sampling/sampler.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(parameters_suite)

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// What is sampled at many positions from one row, by parameters that are greedy unless they are changed.
struct drawing {
  std::vector<float> logits;
  sequence_sampling sampling;
  std::uint32_t prompt_tokens = 0;
  std::vector<token_id> history;
  std::vector<std::uint32_t> mask;

  expected<token_id> at(std::uint32_t position) const {
    sampling_workspace room(static_cast<std::uint32_t>(logits.size()));
    const sequence_sampler sampler(std::make_shared<const sequence_sampling>(sampling), prompt_tokens, history);
    return sampler.sample(logits, position, room, mask);
  }
  token_id next() const { return at(static_cast<std::uint32_t>(history.size())).value(); }
  /// All that is sampled with many seeds.
  std::set<token_id> any() {
    std::set<token_id> out;
    for (sampling.seed = 0; sampling.seed < 300; ++sampling.seed)
      out.insert(next());
    return out;
  }
};

drawing hot(std::vector<float> logits) {
  drawing out{std::move(logits), {}, 0, {}, {}};
  out.sampling.temperature = 1;
  return out;
}

using ids = std::set<token_id>;

} // namespace

BOOST_AUTO_TEST_CASE(temperature_0_is_greedy_and_a_high_one_is_not) {
  drawing d{{1, 3, 3, 0}, {}, 0, {}, {}};
  BOOST_TEST((d.any() == ids{1}));
  d.sampling.temperature = 100;
  BOOST_TEST((d.any() == ids{0, 1, 2, 3}));
  d.sampling.temperature = 0.01f;
  BOOST_TEST((d.any() == ids{1, 2}));
}

BOOST_AUTO_TEST_CASE(top_k_keeps_k_and_the_lowest_id_of_equals) {
  auto d = hot({0.1f, 0.3f, 0.2f, 0.2f, 0.25f});
  d.sampling.top_k = 3;
  BOOST_TEST((d.any() == ids{1, 2, 4}));
}

BOOST_AUTO_TEST_CASE(top_p_keeps_the_fewest_likeliest_with_the_share) {
  auto d = hot({std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)});
  for (auto [share, left] : {std::pair{0.39f, 1}, {0.41f, 2}, {0.69f, 2}, {0.71f, 3}, {0.91f, 4}}) {
    d.sampling.top_p = share;
    BOOST_TEST(d.any().size() == static_cast<std::size_t>(left));
  }
}

BOOST_AUTO_TEST_CASE(top_p_is_a_share_of_what_top_k_left) {
  auto d = hot({std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)});
  d.sampling.top_p = 0.5f; // Of 0.7 it is 0.35.
  BOOST_TEST((d.any() == ids{0, 1}));
  d.sampling.top_k = 2;
  BOOST_TEST((d.any() == ids{0}));
}

BOOST_AUTO_TEST_CASE(min_p_keeps_what_has_the_share_of_the_likeliest) {
  auto d = hot({std::log(0.5f), std::log(0.26f), std::log(0.24f)});
  d.sampling.min_p = 0.5f;
  BOOST_TEST((d.any() == ids{0, 1}));
}

BOOST_AUTO_TEST_CASE(typical_p_leaves_the_likeliest_out_where_it_tells_too_little) {
  // Information 1.20, and 2.30 for seven of 0.1; the entropy is 1.97, which 2.30 is nearer to.
  auto d = hot(std::vector<float>(8, std::log(0.1f)));
  d.logits[0] = std::log(0.3f);
  d.sampling.typical_p = 0.25f;
  BOOST_TEST((d.any() == ids{1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(the_seed_the_choice_and_the_position_each_change_the_noise) {
  const auto base = [] { return hot(std::vector<float>(1000, 0.0f)); };
  auto other_seed = base(), other_choice = base();
  other_seed.sampling.seed = 1;
  other_choice.sampling.choice = 1;
  const auto token = base().at(5).value();
  BOOST_TEST(base().at(5).value() == token);
  BOOST_TEST(other_seed.at(5).value() != token);
  BOOST_TEST(other_choice.at(5).value() != token);
  BOOST_TEST(base().at(6).value() != token);
}

BOOST_AUTO_TEST_CASE(allowed_tokens_and_a_mask_exclude_all_others_and_each_other) {
  drawing d{std::vector<float>(70), {}, 0, {}, {}};
  for (std::size_t i = 0; i < 70; ++i)
    d.logits[i] = static_cast<float>(i);
  d.sampling.allowed_tokens = {3, 40, 65};
  BOOST_TEST(d.next() == 65);
  d.mask = {1u << 3, 1u << 8, 0};
  BOOST_TEST(d.next() == 40);
  d.sampling.allowed_tokens.clear();
  BOOST_TEST(d.next() == 40);
  d.mask = {0xffffffffu, 0xffffffffu}; // Tokens beyond a mask are not allowed.
  BOOST_TEST(d.next() == 63);
}

BOOST_AUTO_TEST_CASE(a_bad_word_is_not_completed) {
  drawing d{{0, 5, 4, 3}, {}, 0, {}, {}};
  d.sampling.bad_words = {{2, 0, 1}};
  BOOST_TEST(d.next() == 1);
  d.history = {2, 0};
  BOOST_TEST(d.next() == 2);
  d.history = {0, 2, 0};
  BOOST_TEST(d.next() == 2);
  d.history = {2, 0, 3};
  BOOST_TEST(d.next() == 1);
  d.history = {2, 0};
  d.prompt_tokens = 1; // It began in the prompt.
  BOOST_TEST(d.next() == 1);
  d.sampling.bad_words = {{1}};
  BOOST_TEST(d.next() == 2);
}

BOOST_AUTO_TEST_CASE(end_tokens_wait_for_min_tokens_and_no_bias_brings_them_back) {
  drawing d{{0, 5, 4}, {}, 10, {}, {}};
  d.sampling.end_tokens = {1};
  d.sampling.min_tokens = 3;
  BOOST_TEST(d.at(10).value() == 2);
  BOOST_TEST(d.at(12).value() == 2);
  BOOST_TEST(d.at(13).value() == 1);
  d.sampling.logit_bias = {{1, 100}};
  BOOST_TEST(d.at(12).value() == 2);
}

BOOST_AUTO_TEST_CASE(logit_bias_is_added) {
  drawing d{{0, 5, 4}, {}, 0, {}, {}};
  d.sampling.logit_bias = {{2, 1.5f}};
  BOOST_TEST(d.next() == 2);
  d.sampling.logit_bias = {{1, -1.5f}};
  BOOST_TEST(d.next() == 2);
}

BOOST_AUTO_TEST_CASE(a_repetition_penalty_is_of_prompt_and_answer_once_a_token) {
  drawing d{{1, 5, 4}, {}, 2, {1, 0}, {}};
  d.sampling.repetition_penalty = 1.3f;
  BOOST_TEST(d.next() == 2); // 5 / 1.3 < 4
  d.history = {0, 0, 1};
  BOOST_TEST(d.next() == 2);
  d.sampling.repetition_penalty = 1.2f; // 5 / 1.2 > 4, and no twice
  d.history = {1, 1, 1, 1};
  BOOST_TEST(d.next() == 1);
  d.logits = {-9, -4, -5};
  d.sampling.repetition_penalty = 1.3f; // Under 0 it multiplies.
  BOOST_TEST(d.next() == 2);
}

BOOST_AUTO_TEST_CASE(a_frequency_penalty_is_of_each_time_in_the_answer) {
  drawing d{{1, 5, 4}, {}, 1, {1, 1}, {}};
  d.sampling.frequency_penalty = 0.6f;
  BOOST_TEST(d.next() == 1);
  d.history = {1, 1, 1};
  BOOST_TEST(d.next() == 2);
}

BOOST_AUTO_TEST_CASE(a_presence_penalty_is_once_of_what_is_in_the_answer) {
  drawing d{{1, 5, 4}, {}, 1, {1}, {}};
  d.sampling.presence_penalty = 1.5f;
  BOOST_TEST(d.next() == 1);
  d.history = {1, 1};
  BOOST_TEST(d.next() == 2);
  d.sampling.presence_penalty = 0.6f;
  d.history = {1, 1, 1, 1};
  BOOST_TEST(d.next() == 1);
}

BOOST_AUTO_TEST_CASE(a_logit_that_is_not_a_number_is_reported_with_any_parameters) {
  for (const float bad : {std::nanf(""), infinity}) {
    drawing d{std::vector<float>(100, 1.0f), {}, 0, {}, {}};
    d.logits[70] = bad;
    const auto reported = [&] {
      const auto token = d.at(static_cast<std::uint32_t>(d.history.size()));
      return !token && token.error().code == errc::internal;
    };
    BOOST_TEST(reported());
    d.sampling.temperature = 1;
    BOOST_TEST(reported());
    d.sampling.top_p = 0.5f;
    BOOST_TEST(reported());
    d.sampling.bad_words = {{70}};
    BOOST_TEST(reported());
    d.sampling.allowed_tokens = {3};
    BOOST_TEST(reported());
    d.sampling.allowed_tokens.clear();
    d.mask.assign(4, 1);
    BOOST_TEST(reported());
  }
}

BOOST_AUTO_TEST_CASE(no_token_left_is_an_error_that_names_the_reasons) {
  drawing d{{1, 5, 4}, {}, 0, {}, {}};
  d.sampling.allowed_tokens = {1};
  d.sampling.bad_words = {{1}};
  for (const float temperature : {0.0f, 1.0f}) {
    d.sampling.temperature = temperature;
    const auto token = d.at(0);
    BOOST_TEST_REQUIRE(!token.has_value());
    BOOST_TEST((token.error().code == errc::invalid_argument));
    BOOST_TEST(token.error().message.find("allowed_tokens") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_history_of_another_length_and_a_row_of_another_size_are_errors) {
  drawing d{{1, 5, 4}, {}, 0, {1, 1}, {}};
  d.sampling.presence_penalty = 1;
  BOOST_TEST(d.at(2).has_value());
  BOOST_TEST(!d.at(3).has_value());
  sampling_workspace room(4);
  const sequence_sampler sampler(std::make_shared<const sequence_sampling>(), 0);
  BOOST_TEST(!sampler.sample(d.logits, 0, room).has_value());
}

BOOST_AUTO_TEST_CASE(token_ids_that_the_model_has_not_are_refused_by_their_field) {
  const auto message = [](auto change) {
    sequence_sampling s;
    change(s);
    const auto checked = check_tokens(s, 100);
    return checked ? std::string() : checked.error().message.substr(0, checked.error().message.find(' '));
  };
  BOOST_TEST(message([](auto& s) { s.allowed_tokens = {0, 99}; }).empty());
  BOOST_TEST(message([](auto& s) { s.allowed_tokens = {0, 100}; }) == "allowed_tokens");
  BOOST_TEST(message([](auto& s) { s.logit_bias = {{-1, 1.0f}}; }) == "logit_bias");
  BOOST_TEST(message([](auto& s) { s.bad_words = {{1, 2}, {3, 100}}; }) == "bad_words");
  BOOST_TEST(message([](auto& s) { s.end_tokens = {100}; }) == "stop_tokens");
}

BOOST_AUTO_TEST_SUITE_END()
