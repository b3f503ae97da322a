#include <boost/test/unit_test.hpp>

#include <functional>
#include <limits>

#include "protocol/limits.hpp"
#include "protocol/validate.hpp"

namespace troupe::test {
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

BOOST_AUTO_TEST_SUITE(validate_request)

BOOST_AUTO_TEST_CASE(a_temperature_out_of_range_or_not_finite_is_refused) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (float temperature : {-1.0f, -1e-30f, 100.1f, 1e-7f, 1e-45f, infinity, -infinity,
                            std::numeric_limits<float>::quiet_NaN()})
    check(refusal([&](auto& request) { request.sampling.temperature = temperature; }), errc::invalid_argument,
          "temperature");
  for (float temperature : {0.0f, -0.0f, 1e-6f, 0.7f, 100.0f})
    BOOST_TEST(validate(sampling_parameters{.temperature = temperature}).has_value());
}

BOOST_AUTO_TEST_CASE(at_least_one_token_must_be_asked_for) {
  check(refusal([](auto& request) { request.sampling.max_tokens = 0; }), errc::invalid_argument, "max_tokens");
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
  check(refusal([](auto& request) { request.prompt = prompt_messages(max_chat_messages + 1, {"user", "x"}); }),
        errc::limit_exceeded, "messages");
  check(refusal([&](auto& request) { request.prompt = prompt_messages{{"user", half + half + "x"}}; }),
        errc::limit_exceeded, "messages[0].content");
  const prompt_messages three{{"user", half}, {"user", half}, {"user", "x"}};
  check(refusal([&](auto& request) { request.prompt = three; }), errc::limit_exceeded, "messages[2]");
}

BOOST_AUTO_TEST_CASE(text_that_is_not_utf8_is_refused_with_the_offset) {
  const auto failure = refusal([](auto& request) { request.prompt = "ab\xc3("; });
  check(failure, errc::malformed, "prompt");
  BOOST_TEST(failure.message.find("byte 2") != std::string::npos);
  check(refusal([](auto& request) { request.prompt = prompt_messages{{"user", "\x80"}}; }), errc::malformed,
        "messages[0].content");
}

BOOST_AUTO_TEST_CASE(a_negative_token_is_refused_with_its_index) {
  check(refusal([](auto& request) { request.prompt = prompt_tokens{1, 2, -1}; }), errc::invalid_argument,
        "tokens[2]");
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
  for (std::uint32_t version : {0u, protocol_version + 1, 0xffffffffu}) {
    const auto result = check_version({version});
    BOOST_REQUIRE(!result);
    BOOST_TEST(to_string(result.error().code) == "version_mismatch");
    BOOST_TEST(result.error().message.find(std::to_string(version)) != std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
