#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

namespace {

json with(json more = json::object()) {
  json body = {
    {"model", "tiny"}, {"max_tokens", 9}, {"messages", json::array({{{"role", "user"}, {"content", "Hi"}}})}};
  body.update(more);
  return body;
}

running_call started(const json& body) {
  return taken(&serve::messages, body);
}

std::string refusal(const json& body) {
  const auto outcome = serve::messages(tiny_context(), body.dump());
  BOOST_REQUIRE_MESSAGE(!outcome.call, body.dump());
  BOOST_TEST(outcome.answer.status == 400u);
  const auto answer = json::parse(outcome.answer.body);
  BOOST_TEST(answer["type"] == "error");
  BOOST_TEST(answer["error"]["type"] == "invalid_request_error");
  return answer["error"]["message"];
}

} // namespace

BOOST_AUTO_TEST_SUITE(messages_suite)

BOOST_AUTO_TEST_CASE(the_system_is_the_first_message) {
  const auto call = started(with(
    {{"system", json::array({{{"type", "text"}, {"text", "Be short."}, {"cache_control", {{"type", "ephemeral"}}}}})},
     {"stop_sequences", {"x"}},
     {"metadata", {{"user_id", "me"}}},
     {"top_k", 5}}));
  const prompt_messages wanted{{"system", "Be short."}, {"user", "Hi"}};
  BOOST_TEST((std::get<prompt_messages>(call.requests.at(0).prompt) == wanted));
  BOOST_TEST(call.requests[0].sampling.max_tokens == 9u);
  BOOST_TEST(call.requests[0].sampling.top_k == 5u);
  BOOST_TEST(call.requests[0].sampling.stop[0] == "x");
}

BOOST_AUTO_TEST_CASE(a_whole_message_has_blocks_of_text) {
  auto call = started(with());
  call.delta(0, 0, "Hel");
  call.delta(0, 0, "lo");
  call.end(0, finish_reason::length, {5, 2, 1});
  const auto body = call.whole();
  BOOST_TEST(body["type"] == "message");
  BOOST_TEST(body["role"] == "assistant");
  BOOST_TEST(body["content"].dump() == R"([{"type":"text","text":"Hello"}])");
  BOOST_TEST(body["stop_reason"] == "max_tokens");
  BOOST_TEST(body["usage"]["input_tokens"] == 4);
  BOOST_TEST(body["usage"]["cache_read_input_tokens"] == 1);
  BOOST_TEST(body["usage"]["output_tokens"] == 2);
}

BOOST_AUTO_TEST_CASE(a_stream_has_anthropics_events) {
  auto call = started(with({{"stream", true}}));
  call.delta(0, 0, "Hel");
  call.delta(0, 0, "lo");
  call.end(0);
  std::vector<std::string> types;
  for (const auto& event : call.events())
    types.push_back(event["type"]);
  const std::vector<std::string> wanted{"message_start",       "content_block_start", "content_block_delta",
                                        "content_block_delta", "content_block_stop",  "message_delta",
                                        "message_stop"};
  BOOST_TEST(types == wanted, boost::test_tools::per_element());
  const auto events = call.events();
  BOOST_TEST(events[2]["delta"].dump() == R"({"type":"text_delta","text":"Hel"})");
  BOOST_TEST(events[5]["delta"]["stop_reason"] == "end_turn");
  BOOST_TEST(call.out.starts_with("event: message_start\n"));
}

BOOST_AUTO_TEST_CASE(a_stop_sequence_is_told_from_an_end) {
  const auto stopped_by = [](const stop_cause& cause) {
    auto call = started(with({{"stop_sequences", {"x", "yz"}}}));
    call.delta(0, 0, "a");
    call.stop(0, cause);
    return call.whole();
  };
  const auto by_text = stopped_by("yz"), by_end = stopped_by(token_id{2});
  BOOST_TEST(by_text["stop_reason"] == "stop_sequence");
  BOOST_TEST(by_text["stop_sequence"] == "yz");
  BOOST_TEST(by_end["stop_reason"] == "end_turn");
  BOOST_TEST(by_end["stop_sequence"].is_null());
}

BOOST_AUTO_TEST_CASE(errors_have_anthropics_shape) {
  auto call = started(with({{"stream", true}}));
  call.delta(0, 0, "Hel");
  call.end(0, finish_reason::error, {}, {errc::unavailable, "Gone."});
  BOOST_TEST(call.out.find("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"") !=
             std::string::npos);
  BOOST_TEST(refusal({{"model", "tiny"}, {"messages", with()["messages"]}}).starts_with("Field 'max_tokens'"));
  BOOST_TEST(refusal(with({{"stop_sequences", {""}}})).starts_with("Field 'stop_sequences[0]'"));
  BOOST_TEST(
    refusal(with({{"thinking", {{"type", "enabled"}, {"budget_tokens", 9}}}})).starts_with("Field 'thinking'"));
  BOOST_TEST(refusal(with({{"mood", 3}})).starts_with("Field 'mood'"));
  BOOST_TEST(refusal(with({{"messages", json::array({{{"role", "system"}, {"content", "x"}}})}}))
               .starts_with("Field 'messages[0].role'"));
}

BOOST_AUTO_TEST_SUITE_END()
