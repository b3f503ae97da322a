#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(messages_suite)

namespace {

json with(json more = json::object()) {
  json body = {
    {"model", "tiny"}, {"max_tokens", 9}, {"messages", json::array({{{"role", "user"}, {"content", "Hi"}}})}};
  body.update(more);
  return body;
}

const json weather_tools =
  json::array({{{"name", "weather"}, {"description", "The weather."}, {"input_schema", {{"type", "object"}}}}});

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

BOOST_AUTO_TEST_CASE(tools_calls_and_their_results_are_rendered) {
  const auto context = context_with(qwen);
  json body = with({{"tools", weather_tools}});
  body["messages"] = json::array(
    {{{"role", "user"}, {"content", "Hello"}},
     {{"role", "assistant"},
      {"content",
       json::array({{{"type", "thinking"}, {"thinking", "Hm."}, {"signature", ""}},
                    {{"type", "text"}, {"text", "Let me see."}},
                    {{"type", "tool_use"}, {"id", "t1"}, {"name", "weather"}, {"input", {{"city", "Bern"}}}},
                    {{"type", "tool_use"}, {"id", "t2"}, {"name", "weather"}, {"input", json::object()}}})}},
     {{"role", "user"},
      {"content", json::array({{{"type", "tool_result"}, {"tool_use_id", "t1"}, {"content", "Rain."}},
                               {{"type", "tool_result"},
                                {"tool_use_id", "t2"},
                                {"is_error", true},
                                {"content", json::array({{{"type", "text"}, {"text", "No city."}}})}},
                               {{"type", "text"}, {"text", "And now?"}}})}}});
  const auto text = rendered(taken(&serve::messages, body, context), context);
  BOOST_TEST(
    text.starts_with(R"({"type": "function", "function": {"name": "weather", "description": "The weather.", )"
                     R"("parameters": {"type": "object"}}})"),
    text);
  BOOST_TEST(text.find("<|im_start|>assistant\n<think>Hm.</think>Let me see.<tool_call>weather{\"city\": "
                       "\"Bern\"}</tool_call><tool_call>weather{}</tool_call><|im_end|>") != std::string::npos,
             text);
  BOOST_TEST(text.find("<|im_start|>tool\nRain.t1<|im_end|>\n<|im_start|>tool\nError: No city.t2<|im_end|>\n"
                       "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n") != std::string::npos,
             text);
  body["tool_choice"] = {{"type", "none"}};
  BOOST_TEST(rendered(taken(&serve::messages, body, context), context).find("parameters") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(calls_are_blocks_with_their_arguments_as_an_object) {
  auto call = taken(&serve::messages, with({{"tools", weather_tools}}), context_with(qwen));
  call.delta(0, 0, "I see. <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": ");
  call.delta(0, 0, "\"Bern\"}}</tool_call>");
  call.end(0);
  const auto body = call.whole();
  BOOST_TEST(body["stop_reason"] == "tool_use");
  BOOST_REQUIRE(body["content"].size() == 2u);
  BOOST_TEST(body["content"][0]["text"] == "I see.");
  BOOST_TEST(body["content"][1]["type"] == "tool_use");
  BOOST_TEST(body["content"][1]["id"].get<std::string>().starts_with("toolu_"));
  BOOST_TEST(body["content"][1]["name"] == "weather");
  BOOST_TEST(body["content"][1]["input"].dump() == R"({"city":"Bern"})");
}

BOOST_AUTO_TEST_CASE(a_streamed_call_is_a_block_of_pieces_of_json) {
  auto call = taken(&serve::messages, with({{"tools", weather_tools}, {"stream", true}}), context_with(qwen));
  const std::string text = "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}</tool_call>";
  for (const char c : text)
    call.delta(0, 0, std::string(1, c));
  call.end(0);
  std::string arguments;
  std::vector<std::string> types;
  for (const auto& event : call.events()) {
    if (types.empty() || types.back() != event["type"])
      types.push_back(event["type"]);
    if (event["type"] == "content_block_start")
      BOOST_TEST(event["content_block"]["input"].dump() == "{}");
    if (event["type"] == "content_block_delta") {
      BOOST_TEST(event["delta"]["type"] == "input_json_delta");
      arguments += event["delta"]["partial_json"];
    }
  }
  const std::vector<std::string> wanted{"message_start",      "content_block_start", "content_block_delta",
                                        "content_block_stop", "message_delta",       "message_stop"};
  BOOST_TEST(types == wanted, boost::test_tools::per_element());
  BOOST_TEST(arguments == "{\"city\": \"Bern\"}");
}

BOOST_AUTO_TEST_CASE(an_assistants_last_message_is_gone_on_with) {
  const auto context = context_with(qwen);
  auto body = with();
  body["messages"].push_back({{"role", "assistant"}, {"content", "Well, "}});
  BOOST_TEST(rendered(taken(&serve::messages, body, context), context).ends_with("<|im_start|>assistant\nWell, "));
}

BOOST_AUTO_TEST_CASE(tokens_are_counted_as_the_engine_will) {
  const auto context = context_with(qwen);
  auto body = with({{"tools", weather_tools}, {"system", "Be short."}});
  const auto call = taken(&serve::messages, body, context);
  const auto parts = prompt_text_of(*context.source, call.requests[0].prompt, 0);
  BOOST_REQUIRE(parts);
  body.erase("max_tokens");
  const auto outcome = serve::count_tokens(context, body.dump());
  BOOST_REQUIRE(outcome.answer.status == 200u);
  BOOST_TEST(json::parse(outcome.answer.body)["input_tokens"] == context.source->tokens->encode(*parts).size());
  body["temperature"] = 1;
  BOOST_TEST(serve::count_tokens(context, body.dump()).answer.status == 400u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_had_of_tools_is_named) {
  const auto block = [](const char* role, json content) {
    return refusal(
      with({{"messages", json::array({{{"role", role}, {"content", json::array({std::move(content)})}}})}}));
  };
  BOOST_TEST(block("user", {{"type", "image"}, {"source", 1}}).starts_with("Field 'messages[0].content[0].type'"));
  BOOST_TEST(block("user", {{"type", "tool_use"}, {"id", "a"}, {"name", "f"}, {"input", json::object()}})
               .starts_with("Field 'messages[0].content[0].type'"));
  BOOST_TEST(block("assistant", {{"type", "tool_use"}, {"id", "a"}, {"name", "f"}})
               .starts_with("Field 'messages[0].content[0].input'"));
  BOOST_TEST(refusal(with({{"tools", json::array({{{"type", "bash_20250124"}, {"name", "bash"}}})}}))
               .starts_with("Field 'tools[0].type'"));
  BOOST_TEST(refusal(with({{"tools", json::array({{{"name", "f"}}})}})).starts_with("Field 'tools[0].input_schema'"));
  BOOST_TEST(refusal(with({{"tool_choice", {{"type", "any"}}}})).starts_with("Field 'tool_choice.type'"));
  BOOST_TEST(refusal(with({{"tools", weather_tools}})).starts_with("Field 'tools'")); // No place in the template.
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
    refusal(with({{"thinking", {{"type", "enabled"}, {"budget_tokens", 9}}}})).starts_with("Field 'thinking.type'"));
  BOOST_TEST(refusal(with({{"mood", 3}})).starts_with("Field 'mood'"));
  BOOST_TEST(refusal(with({{"messages", json::array({{{"role", "system"}, {"content", "x"}}})}}))
               .starts_with("Field 'messages[0].role'"));
}

BOOST_AUTO_TEST_SUITE_END()
