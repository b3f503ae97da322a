#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(chat_suite)

namespace {

json with(json more = json::object()) {
  json body = {{"messages", json::array({{{"role", "user"}, {"content", "Hello"}}})}};
  body.update(more);
  return body;
}

json of_message(json message) {
  return {{"messages", json::array({std::move(message)})}};
}

running_call started(const json& body) {
  return taken(&serve::chat_completions, body);
}

json refusal(const json& body) {
  return refused(&serve::chat_completions, body);
}

const prompt_messages& messages_of(const running_call& call) {
  return std::get<prompt_messages>(call.requests.at(0).prompt);
}

} // namespace

BOOST_AUTO_TEST_CASE(without_max_tokens_the_context_is_the_limit) {
  BOOST_TEST(started(with()).requests[0].sampling.max_tokens == 512u);
  BOOST_TEST(started(with({{"max_tokens", 5}})).requests[0].sampling.max_tokens == 5u);
  BOOST_TEST(started(with({{"max_completion_tokens", 6}})).requests[0].sampling.max_tokens == 6u);
  BOOST_TEST(refusal(with({{"max_completion_tokens", 6}, {"max_tokens", 5}}))["param"] == "max_completion_tokens");
}

BOOST_AUTO_TEST_CASE(parts_of_text_become_one_text) {
  const auto call = started(
    of_message({{"role", "developer"},
                {"content", json::array({{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}})}}));
  BOOST_REQUIRE(messages_of(call).size() == 1u);
  BOOST_TEST(messages_of(call)[0].role == "system");
  BOOST_TEST(messages_of(call)[0].content == "a\nb");
}

BOOST_AUTO_TEST_CASE(what_is_wrong_in_a_message_is_named_by_its_place) {
  const auto param = [](json message) { return refusal(of_message(std::move(message)))["param"]; };
  BOOST_TEST(param("x") == "messages[0]");
  BOOST_TEST(param({{"content", "x"}}) == "messages[0].role");
  BOOST_TEST(param({{"role", "user"}}) == "messages[0].content");
  BOOST_TEST(param({{"role", "king"}, {"content", "x"}}) == "messages[0].role");
  BOOST_TEST(param({{"role", "user"}, {"content", 3}}) == "messages[0].content");
  BOOST_TEST(param({{"role", "user"}, {"content", "x"}, {"mood", 3}}) == "messages[0].mood");
  BOOST_TEST(param({{"role", "user"}, {"content", json::array({"x"})}}) == "messages[0].content[0]");
  BOOST_TEST(
    param({{"role", "user"}, {"content", json::array({{{"type", "image_url"}, {"image_url", {{"url", "x"}}}}})}}) ==
    "messages[0].content[0].type");
  BOOST_TEST(param({{"role", "user"}, {"content", json::array({{{"type", "text"}}})}}) ==
             "messages[0].content[0].text");
  BOOST_TEST(refusal({{"messages", json::array()}})["param"] == "messages");
  BOOST_TEST(refusal({{"model", "tiny"}})["param"] == "messages");
}

BOOST_AUTO_TEST_CASE(a_whole_answer_has_a_message_for_each_choice) {
  auto call = started(with({{"n", 2}}));
  call.delta(0, 1, "Two");
  call.delta(0, 0, "One");
  call.delta(0, 0, ".");
  call.end(0, finish_reason::length);
  const auto body = call.whole();
  BOOST_TEST(body["object"] == "chat.completion");
  BOOST_TEST(body["id"].get<std::string>().starts_with("chatcmpl-"));
  BOOST_TEST(body["system_fingerprint"].get<std::string>().starts_with("fp_"));
  BOOST_REQUIRE(body["choices"].size() == 2u);
  BOOST_TEST(body["choices"][0].dump() ==
             R"({"index":0,"message":{"role":"assistant","content":"One.","refusal":null},"logprobs":null,)"
             R"("finish_reason":"length","stop_reason":null})");
  BOOST_TEST(body["choices"][1]["message"]["content"] == "Two");
  BOOST_TEST(body["usage"]["prompt_tokens_details"]["cached_tokens"] == 1);
}

BOOST_AUTO_TEST_CASE(a_stream_begins_each_choice_with_its_role) {
  auto call = started(with({{"n", 2}, {"stream", true}, {"stream_options", {{"include_usage", true}}}}));
  call.delta(0, 1, "Two");
  call.delta(0, 0, "");
  call.end(0);
  const auto events = call.events();
  BOOST_REQUIRE(events.size() == 7u);
  BOOST_TEST(events[0]["object"] == "chat.completion.chunk");
  BOOST_TEST(events[0]["choices"][0].dump() ==
             R"({"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null})");
  BOOST_TEST(events[1]["choices"][0].dump() ==
             R"({"index":1,"delta":{"content":"Two"},"logprobs":null,"finish_reason":null})");
  BOOST_TEST(events[2]["choices"][0]["delta"]["role"] == "assistant");
  BOOST_TEST(events[3]["choices"][0].dump() ==
             R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":null})");
  BOOST_TEST(events[4]["choices"][0]["index"] == 1);
  BOOST_TEST(events[5]["choices"].empty());
  BOOST_TEST(events[5]["usage"]["total_tokens"] == 5);
  BOOST_TEST(events[6] == "[DONE]");
}

BOOST_AUTO_TEST_CASE(logprobs_have_bytes_and_alternatives) {
  auto call = started(with({{"logprobs", true}, {"top_logprobs", 1}}));
  BOOST_TEST(call.requests[0].sampling.logprobs == 1);
  const auto bytes = tiny_context().source->tokens->encode("é"); // Two tokens of one byte each.
  BOOST_REQUIRE(bytes.size() == 2u);
  call.delta(0, 0, "é", {{bytes[0], -0.5f, 1, {{bytes[0], -0.5f}}}, {bytes[1], -1.0f, 1, {{bytes[1], -1.0f}}}});
  call.end(0);
  const auto content = call.whole()["choices"][0]["logprobs"]["content"];
  BOOST_REQUIRE(content.size() == 2u);
  BOOST_TEST(content[0]["bytes"].dump() == "[195]");
  BOOST_TEST(content[0]["token"] == "\ufffd");
  BOOST_TEST(content[1]["top_logprobs"][0]["logprob"] == -1.0);
  BOOST_TEST(started(with({{"logprobs", true}})).requests[0].sampling.logprobs == 0);
  BOOST_TEST(started(with({{"logprobs", false}})).requests[0].sampling.logprobs == -1);
  BOOST_TEST(refusal(with({{"top_logprobs", 2}}))["param"] == "top_logprobs");
}

BOOST_AUTO_TEST_CASE(only_formats_that_can_be_kept_are_taken) {
  started(with({{"response_format", {{"type", "text"}}}}));
  BOOST_TEST(refusal(with({{"response_format", {{"type", "json_object"}}}}))["param"] == "response_format.type");
  BOOST_TEST(refusal(with({{"store", true}}))["param"] == "store");
  started(with({{"store", false}, {"user", "me"}, {"metadata", {{"a", "b"}}}, {"modalities", {"text"}}}));
}

BOOST_AUTO_TEST_SUITE_END()
