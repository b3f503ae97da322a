#include "serve/api/errors.hpp"

#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::serve;

BOOST_AUTO_TEST_SUITE(errors_suite)

BOOST_AUTO_TEST_CASE(a_full_queue_is_429_and_says_when_to_come_back) {
  const auto answer = openai_error({errc::queue_full, "Too many requests wait.", 2500});
  BOOST_TEST(answer.status == 429u);
  BOOST_TEST(answer.retry_after_ms == 2500u);
  const auto body = json::parse(answer.body);
  BOOST_TEST(body["error"]["type"] == "rate_limit_error");
  BOOST_TEST(body["error"]["message"] == "Too many requests wait.");
  BOOST_TEST(body["error"]["param"].is_null());
  BOOST_TEST(openai_error({errc::queue_full, "Full."}).retry_after_ms == 1000u);
}

BOOST_AUTO_TEST_CASE(a_sentence_that_names_a_field_gives_the_param) {
  const auto answer = openai_error({errc::invalid_argument, "Field 'messages[2].role' is empty."});
  BOOST_TEST(answer.status == 400u);
  const auto body = json::parse(answer.body);
  BOOST_TEST(body["error"]["param"] == "messages[2].role");
  BOOST_TEST(body["error"]["code"] == "invalid_value");
  BOOST_TEST(body["error"]["type"] == "invalid_request_error");
}

BOOST_AUTO_TEST_CASE(each_code_has_its_status) {
  BOOST_TEST(http_status(errc::context_overflow) == 400u);
  BOOST_TEST(http_status(errc::unavailable) == 503u);
  BOOST_TEST(http_status(errc::not_found) == 404u);
  BOOST_TEST(http_status(errc::internal) == 500u);
  BOOST_TEST(http_status(errc::cancelled) == 499u);
  for (std::uint16_t i = 1; i <= 14; ++i) {
    const auto status = http_status(static_cast<errc>(i));
    BOOST_TEST((status >= 400 && status < 600));
  }
  BOOST_TEST(json::parse(openai_error({errc::context_overflow, "Too long."}).body)["error"]["code"] ==
             "context_length_exceeded");
}

BOOST_AUTO_TEST_CASE(http_may_know_the_status_better) {
  const auto answer = openai_error({errc::invalid_argument, "Send a key."}, 401);
  BOOST_TEST(answer.status == 401u);
  BOOST_TEST(json::parse(answer.body)["error"]["code"] == "invalid_api_key");
}

BOOST_AUTO_TEST_CASE(anthropic_has_a_shape_of_its_own) {
  const auto answer = anthropic_error({errc::queue_full, "Full.", 1500});
  BOOST_TEST(answer.status == 429u);
  BOOST_TEST(answer.body == R"({"type":"error","error":{"type":"rate_limit_error","message":"Full."}})");
  BOOST_TEST(json::parse(anthropic_error({errc::unavailable, "x"}).body)["error"]["type"] == "overloaded_error");
  BOOST_TEST(json::parse(anthropic_error({errc::not_found, "x"}).body)["error"]["type"] == "not_found_error");
}

BOOST_AUTO_TEST_CASE(what_is_not_utf8_in_a_sentence_is_replaced) {
  BOOST_TEST(json::parse(openai_error({errc::internal, "\xff"}).body)["error"]["message"] == "\ufffd");
}

BOOST_AUTO_TEST_SUITE_END()
