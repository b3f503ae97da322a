#include <boost/test/unit_test.hpp>

#include <functional>
#include <limits>

#include "protocol/limits.hpp"
#include "protocol/validate.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(validate_request)

namespace {

generate_request valid_request() {
  return {.id = 1, .prompt = prompt_text{"hi"}};
}

/// What is said of a valid request after `change`.
error refusal(const std::function<void(generate_request&)>& change) {
  generate_request request = valid_request();
  BOOST_REQUIRE(validate(request));
  change(request);
  const auto result = validate(request);
  BOOST_REQUIRE(!result);
  return result.error();
}

void check(const error& failure, errc code, std::string_view field) {
  BOOST_TEST(to_string(failure.code) == to_string(code));
  BOOST_TEST(failure.message.find("'" + std::string{field} + "'") != std::string::npos, failure.message);
  BOOST_TEST(failure.message.ends_with('.'), failure.message);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_temperature_out_of_range_or_not_finite_is_refused) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (float temperature :
       {-1.0f, -1e-30f, 100.1f, 1e-7f, 1e-45f, infinity, -infinity, std::numeric_limits<float>::quiet_NaN()})
    check(refusal([&](auto& request) { request.sampling.temperature = temperature; }), errc::invalid_argument,
          "temperature");
  for (float temperature : {0.0f, -0.0f, 1e-6f, 0.7f, 100.0f})
    BOOST_TEST(validate(sampling_parameters{.temperature = temperature}).has_value());
}

BOOST_AUTO_TEST_CASE(stop_strings_are_limited_in_number_and_length_and_never_empty) {
  check(refusal([](auto& request) { request.sampling.stop.assign(max_stop_strings + 1, "x"); }), errc::limit_exceeded,
        "stop");
  check(refusal([](auto& request) { request.sampling.stop = {"a", ""}; }), errc::invalid_argument, "stop[1]");
  check(refusal([](auto& request) { request.sampling.stop = {std::string(max_stop_bytes + 1, 'x')}; }),
        errc::limit_exceeded, "stop[0]");
  check(refusal([](auto& request) { request.sampling.stop = {"a", "b", "\xff"}; }), errc::malformed, "stop[2]");
  BOOST_TEST(validate(sampling_parameters{.stop = std::vector(max_stop_strings, std::string(max_stop_bytes, 'x'))})
               .has_value());
}

BOOST_AUTO_TEST_CASE(every_number_has_a_range_and_nan_is_in_none) {
  struct range {
    const char* field;
    float sampling_parameters::*part;
    std::vector<float> good;
    std::vector<float> bad;
  };
  const range ranges[] = {
    {"top_p", &sampling_parameters::top_p, {1e-30f, 0.5f, 1}, {0, -0.5f, 1.0001f}},
    {"min_p", &sampling_parameters::min_p, {0, 0.5f, 1}, {-0.1f, 1.0001f}},
    {"typical_p", &sampling_parameters::typical_p, {1e-30f, 1}, {0, -0.5f, 1.0001f}},
    {"repetition_penalty", &sampling_parameters::repetition_penalty, {0.01f, 1, 100}, {0, -1, 0.009f, 100.1f}},
    {"presence_penalty", &sampling_parameters::presence_penalty, {-2, 0, 2}, {-2.01f, 2.01f}},
    {"frequency_penalty", &sampling_parameters::frequency_penalty, {-2, 0, 2}, {-2.01f, 2.01f}},
  };
  for (const range& each : ranges) {
    auto bad = each.bad;
    bad.insert(bad.end(), {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()});
    for (float value : bad)
      check(refusal([&](auto& request) { request.sampling.*each.part = value; }), errc::invalid_argument, each.field);
    for (float value : each.good) {
      generate_request request = valid_request();
      request.sampling.*each.part = value;
      BOOST_TEST(validate(request).has_value(), each.field << " " << value);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_bias_belongs_to_one_token_and_is_in_range) {
  auto with = [](std::vector<logit_bias_entry> entries) {
    return refusal([&](auto& request) { request.sampling.logit_bias = entries; });
  };
  check(with({{5, 1}, {6, 100.5f}}), errc::invalid_argument, "logit_bias[1].bias");
  check(with({{5, std::numeric_limits<float>::quiet_NaN()}}), errc::invalid_argument, "logit_bias[0].bias");
  check(with({{-1, 1}}), errc::invalid_argument, "logit_bias[0].token");
  check(with({{5, 1}, {6, 1}, {5, 2}}), errc::invalid_argument, "logit_bias");
  check(with(std::vector<logit_bias_entry>(max_logit_bias + 1)), errc::limit_exceeded, "logit_bias");
}

BOOST_AUTO_TEST_CASE(lists_of_tokens_and_words_are_limited) {
  check(refusal([](auto& request) { request.sampling.allowed_tokens.assign(max_allowed_tokens + 1, 1); }),
        errc::limit_exceeded, "allowed_tokens");
  check(refusal([](auto& request) {
          request.sampling.allowed_tokens = {1, -1};
        }),
        errc::invalid_argument, "allowed_tokens[1]");
  check(refusal([](auto& request) { request.sampling.stop_tokens.assign(max_stop_tokens + 1, 1); }),
        errc::limit_exceeded, "stop_tokens");
  check(refusal([](auto& request) { request.sampling.stop_tokens = {-1}; }), errc::invalid_argument,
        "stop_tokens[0]");
  check(refusal([](auto& request) { request.sampling.bad_words.assign(max_bad_words + 1, "x"); }),
        errc::limit_exceeded, "bad_words");
  check(refusal([](auto& request) {
          request.sampling.bad_words = {"a", ""};
        }),
        errc::invalid_argument, "bad_words[1]");
  check(refusal([](auto& request) { request.sampling.bad_words = {std::string(max_bad_word_bytes + 1, 'x')}; }),
        errc::limit_exceeded, "bad_words[0]");
  check(refusal([](auto& request) { request.sampling.bad_words = {"\xff"}; }), errc::malformed, "bad_words[0]");
}

BOOST_AUTO_TEST_CASE(an_answer_cannot_be_longer_at_least_than_at_most) {
  check(refusal([](auto& request) {
          request.sampling.max_tokens = 4;
          request.sampling.min_tokens = 5;
        }),
        errc::invalid_argument, "min_tokens");
  BOOST_TEST(validate(sampling_parameters{.max_tokens = 4, .min_tokens = 4}).has_value());
}

BOOST_AUTO_TEST_CASE(an_answer_without_tokens_is_an_echo_or_logprobs_of_the_prompt) {
  check(refusal([](auto& request) { request.sampling.max_tokens = 0; }), errc::invalid_argument, "max_tokens");
  auto request = valid_request();
  request.sampling.max_tokens = 0;
  request.echo = true;
  BOOST_TEST(validate(request).has_value());
  request.best_of = 2;
  BOOST_TEST((validate(request).error().code == errc::invalid_argument));
  request.n = 2;
  BOOST_TEST(validate(request).has_value());
  request.echo = false;
  request.sampling.prompt_logprobs = 0;
  BOOST_TEST(validate(request).has_value());
}

BOOST_AUTO_TEST_CASE(an_embedding_is_asked_for_without_anything_that_is_about_tokens) {
  for (auto how : {pooling::last, pooling::mean}) {
    generate_request request{.prompt = prompt_text{"x"}, .scheduling = {1, 2, 0, "salt"}, .embed = how};
    BOOST_TEST(validate(request).has_value());
    const auto with = [&](auto change) {
      return refusal([&](auto& each) {
        each = request;
        change(each);
      });
    };
    check(with([](auto& each) { each.sampling.max_tokens = 0; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.sampling.temperature = 1; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.sampling.prompt_logprobs = 1; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.scheduling.itl_ms = 1; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.n = 2; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.best_of = 1; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.echo = true; }), errc::invalid_argument, "embed");
    check(with([](auto& each) { each.credit = 5; }), errc::invalid_argument, "embed");
  }
}

BOOST_AUTO_TEST_CASE(logprobs_are_asked_for_in_small_numbers) {
  for (std::int32_t count : {-2, max_logprobs + 1}) {
    check(refusal([&](auto& request) { request.sampling.logprobs = count; }), errc::invalid_argument, "logprobs");
    check(refusal([&](auto& request) { request.sampling.prompt_logprobs = count; }), errc::invalid_argument,
          "prompt_logprobs");
  }
  for (std::int32_t count : {-1, 0, max_logprobs})
    BOOST_TEST(validate(sampling_parameters{.logprobs = count, .prompt_logprobs = count}).has_value());
}

BOOST_AUTO_TEST_CASE(wishes_to_the_scheduler_are_limited) {
  for (std::int32_t priority : {-max_priority - 1, max_priority + 1})
    check(refusal([&](auto& request) { request.scheduling.priority = priority; }), errc::invalid_argument,
          "priority");
  check(refusal([](auto& request) { request.scheduling.cache_salt = std::string(max_salt_bytes + 1, 's'); }),
        errc::limit_exceeded, "cache_salt");
  check(refusal([](auto& request) { request.scheduling.cache_salt = "\xff"; }), errc::malformed, "cache_salt");
}

BOOST_AUTO_TEST_CASE(the_best_of_several_answers_are_at_most_as_many_and_are_not_streamed_by_credit) {
  auto with = [](std::uint32_t n, std::uint32_t best_of, std::uint32_t credit = unlimited_credit) {
    generate_request request = valid_request();
    request.n = n;
    request.best_of = best_of;
    request.credit = credit;
    return validate(request);
  };
  for (auto [n, best_of] : {std::pair{1u, 0u}, {4u, 0u}, {4u, 4u}, {1u, 128u}, {128u, 128u}})
    BOOST_TEST(with(n, best_of).has_value());
  BOOST_TEST(with(4, 4, 10).has_value());
  check(with(0, 0).error(), errc::invalid_argument, "n");
  check(with(129, 0).error(), errc::invalid_argument, "n");
  check(with(4, 3).error(), errc::invalid_argument, "best_of");
  check(with(4, 129).error(), errc::invalid_argument, "best_of");
  check(with(4, 5, 10).error(), errc::invalid_argument, "credit");
}

BOOST_AUTO_TEST_CASE(an_empty_prompt_is_refused_in_each_of_its_forms) {
  check(refusal([](auto& request) { request.prompt = prompt_text{}; }), errc::invalid_argument, "prompt");
  check(refusal([](auto& request) { request.prompt = prompt_tokens{}; }), errc::invalid_argument, "tokens");
  check(refusal([](auto& request) { request.prompt = prompt_messages{}; }), errc::invalid_argument, "messages");
}

BOOST_AUTO_TEST_CASE(a_prompt_over_its_limit_is_refused_in_each_of_its_forms) {
  const std::string half(max_string_bytes / 2, 'x');
  check(refusal([&](auto& request) { request.prompt = half + half + "x"; }), errc::limit_exceeded, "prompt");
  check(refusal([](auto& request) { request.prompt = prompt_tokens(max_prompt_tokens + 1); }), errc::limit_exceeded,
        "tokens");
  check(refusal([](auto& request) {
          request.prompt = prompt_messages(max_chat_messages + 1, {"user", "x"});
        }),
        errc::limit_exceeded, "messages");
  check(refusal([&](auto& request) {
          request.prompt = prompt_messages{{"user", half + half + "x"}};
        }),
        errc::limit_exceeded, "messages[0].content");
  const prompt_messages three{{"user", half}, {"user", half}, {"user", "x"}};
  check(refusal([&](auto& request) { request.prompt = three; }), errc::limit_exceeded, "messages[2]");
}

BOOST_AUTO_TEST_CASE(text_that_is_not_utf8_is_refused_with_the_offset) {
  const auto failure = refusal([](auto& request) { request.prompt = "ab\xc3("; });
  check(failure, errc::malformed, "prompt");
  BOOST_TEST(failure.message.find("byte 2") != std::string::npos);
  check(refusal([](auto& request) {
          request.prompt = prompt_messages{{"user", "\x80"}};
        }),
        errc::malformed, "messages[0].content");
}

BOOST_AUTO_TEST_CASE(a_negative_token_is_refused_with_its_index) {
  check(refusal([](auto& request) {
          request.prompt = prompt_tokens{1, 2, -1};
        }),
        errc::invalid_argument, "tokens[2]");
}

BOOST_AUTO_TEST_CASE(a_role_must_be_a_plain_name) {
  auto with_role = [](std::string role) {
    return refusal([&](auto& request) { request.prompt = prompt_messages{{"user", ""}, {role, "x"}}; });
  };
  check(with_role(""), errc::invalid_argument, "messages[1].role");
  check(with_role(std::string(max_role_bytes + 1, 'r')), errc::limit_exceeded, "messages[1].role");
  for (const char* role : {"user ", "us\ner", "<|im_start|>", "\xff", "r\u00f4le"})
    check(with_role(role), errc::invalid_argument, "messages[1].role");
  for (const char* role : {"system", "user", "assistant", "tool", "ipython", "Model-2_b"})
    BOOST_TEST(validate(generate_request{.prompt = prompt_messages{{role, ""}}}).has_value());
}

BOOST_AUTO_TEST_CASE(another_version_is_refused) {
  BOOST_TEST(check_version({protocol_version}).has_value());
  for (std::uint32_t version : {0u, 1u, protocol_version + 1, 0xffffffffu}) {
    const auto result = check_version({version});
    BOOST_REQUIRE(!result);
    BOOST_TEST(to_string(result.error().code) == "version_mismatch");
    BOOST_TEST(result.error().message.find(std::to_string(version)) != std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
