#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(responses_suite)

namespace {

running_call started(const json& body, const serve::api_context& context = tiny_context()) {
  return taken(&serve::responses, body, context);
}

json refusal(const json& body) {
  return refused(&serve::responses, body);
}

const json weather_tools =
  json::array({{{"type", "function"}, {"name", "weather"}, {"parameters", nullptr}, {"strict", false}}});

std::vector<std::string> types_of(const running_call& call) {
  std::vector<std::string> types;
  for (const auto& event : call.events()) {
    BOOST_TEST(event["sequence_number"] == types.size());
    types.push_back(event["type"]);
  }
  return types;
}

} // namespace

BOOST_AUTO_TEST_CASE(input_and_instructions_become_messages) {
  const auto call =
    started({{"instructions", "Be short."},
             {"input",
              json::array({{{"role", "user"}, {"content", "a"}},
                           {{"type", "message"},
                            {"role", "assistant"},
                            {"id", "msg_1"},
                            {"status", "completed"},
                            {"content", json::array({{{"type", "output_text"},
                                                      {"text", "b"},
                                                      {"annotations", json::array()},
                                                      {"logprobs", json::array()}}})}},
                           {{"role", "user"}, {"content", json::array({{{"type", "input_text"}, {"text", "c"}}})}}})},
             {"max_output_tokens", 7}});
  const auto& messages = std::get<prompt_messages>(call.requests.at(0).prompt);
  const prompt_messages wanted{{"system", "Be short."}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}};
  BOOST_TEST((messages == wanted));
  BOOST_TEST(call.requests[0].sampling.max_tokens == 7u);
  BOOST_TEST(std::get<prompt_messages>(started({{"input", "x"}}).requests[0].prompt)[0].content == "x");
}

BOOST_AUTO_TEST_CASE(a_whole_response_has_one_message_of_text) {
  auto call = started({{"input", "x"}, {"metadata", {{"a", "b"}}}});
  call.delta(0, 0, "Hel");
  call.delta(0, 0, "lo");
  call.end(0, finish_reason::length, {5, 2, 1});
  const auto body = call.whole();
  BOOST_TEST(body["object"] == "response");
  BOOST_TEST(body["status"] == "incomplete");
  BOOST_TEST(body["incomplete_details"]["reason"] == "max_output_tokens");
  BOOST_TEST(body["metadata"]["a"] == "b");
  BOOST_REQUIRE(body["output"].size() == 1u);
  BOOST_TEST(body["output"][0]["type"] == "message");
  BOOST_TEST(body["output"][0]["content"][0]["type"] == "output_text");
  BOOST_TEST(body["output"][0]["content"][0]["text"] == "Hello");
  BOOST_TEST(body["usage"]["input_tokens"] == 5);
  BOOST_TEST(body["usage"]["input_tokens_details"]["cached_tokens"] == 1);
  BOOST_TEST(body["usage"]["total_tokens"] == 7);
  BOOST_TEST(call.out.empty());
}

BOOST_AUTO_TEST_CASE(a_stream_has_the_events_of_the_official_package_in_their_order) {
  auto call = started({{"input", "x"}, {"stream", true}});
  call.delta(0, 0, "Hel");
  call.delta(0, 0, "lo");
  call.end(0);
  const std::vector<std::string> wanted{"response.created",           "response.in_progress",
                                        "response.output_item.added", "response.content_part.added",
                                        "response.output_text.delta", "response.output_text.delta",
                                        "response.output_text.done",  "response.content_part.done",
                                        "response.output_item.done",  "response.completed"};
  BOOST_TEST(types_of(call) == wanted, boost::test_tools::per_element());
  const auto events = call.events();
  BOOST_TEST(events[4]["delta"] == "Hel");
  BOOST_TEST(events[6]["text"] == "Hello");
  BOOST_TEST(events[9]["response"]["output"][0]["content"][0]["text"] == "Hello");
  BOOST_TEST(events[9]["response"]["id"] == events[0]["response"]["id"]);
  BOOST_TEST(call.out.starts_with("event: response.created\ndata: {"));
}

BOOST_AUTO_TEST_CASE(a_response_that_fails_says_so) {
  auto early = started({{"input", "x"}, {"stream", true}});
  early.end(0, finish_reason::error, {}, {errc::queue_full, "Full."});
  BOOST_TEST(early.out.empty());
  BOOST_TEST(early.call->whole().status == 429u);
  auto late = started({{"input", "x"}, {"stream", true}});
  late.delta(0, 0, "Hel");
  late.end(0, finish_reason::error, {}, {errc::internal, "Broken."});
  const auto last = late.events().back();
  BOOST_TEST(last["type"] == "response.failed");
  BOOST_TEST(last["response"]["error"]["message"] == "Broken.");
}

BOOST_AUTO_TEST_CASE(thoughts_are_an_item_of_their_own) {
  auto call = started({{"input", "x"}}, context_with("{{ messages[0].content }}{# <think></think> #}"));
  call.delta(0, 0, "<think>Hm.</think>Yes.");
  call.end(0);
  const auto output = call.whole()["output"];
  BOOST_REQUIRE(output.size() == 2u);
  BOOST_TEST(output[0]["type"] == "reasoning");
  BOOST_TEST(output[0]["content"][0]["text"] == "Hm.");
  BOOST_TEST(output[1]["content"][0]["text"] == "Yes.");
}

BOOST_AUTO_TEST_CASE(items_of_one_turn_are_one_message) {
  const auto context = context_with(qwen);
  const auto call = started(
    {{"input",
      json::array(
        {{{"role", "user"}, {"content", "Hello"}},
         {{"type", "reasoning"},
          {"id", "rs_1"},
          {"summary", json::array()},
          {"content", json::array({{{"type", "reasoning_text"}, {"text", "Hm."}}})}},
         {{"type", "message"}, {"role", "assistant"}, {"content", "Let me see."}},
         {{"type", "function_call"}, {"call_id", "c1"}, {"name", "weather"}, {"arguments", "{\"city\": \"Bern\"}"}},
         {{"type", "function_call"},
          {"call_id", "c2"},
          {"name", "weather"},
          {"arguments", ""},
          {"status", "completed"}},
         {{"type", "function_call_output"}, {"call_id", "c1"}, {"output", "Rain."}},
         {{"type", "function_call_output"},
          {"call_id", "c2"},
          {"output", json::array({{{"type", "input_text"}, {"text", "No city."}}})}}})},
     {"tools", weather_tools}},
    context);
  const auto text = rendered(call, context);
  BOOST_TEST(text.starts_with(R"({"type": "function", "function": {"name": "weather", )"
                              R"("parameters": {"type": "object", "properties": {}}}})"),
             text);
  BOOST_TEST(text.find("<|im_start|>assistant\n<think>Hm.</think>Let me see.<tool_call>weather{\"city\": "
                       "\"Bern\"}</tool_call><tool_call>weather{}</tool_call><|im_end|>\n"
                       "<|im_start|>tool\nRain.c1<|im_end|>\n<|im_start|>tool\nNo city.c2<|im_end|>\n") !=
               std::string::npos,
             text);
}

BOOST_AUTO_TEST_CASE(calls_are_items_whole_and_streamed) {
  const std::string said = "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}</tool_call>";
  for (const bool stream : {false, true}) {
    auto call = started({{"input", "x"}, {"tools", weather_tools}, {"stream", stream}}, context_with(qwen));
    call.delta(0, 0, said.substr(0, 50));
    call.delta(0, 0, said.substr(50));
    call.end(0);
    const auto body = stream ? call.events().back()["response"] : call.whole();
    BOOST_TEST(body["tools"] == weather_tools);
    BOOST_REQUIRE(body["output"].size() == 1u);
    const auto item = body["output"][0];
    BOOST_TEST(item["type"] == "function_call");
    BOOST_TEST(item["status"] == "completed");
    BOOST_TEST(item["name"] == "weather");
    BOOST_TEST(item["arguments"] == "{\"city\": \"Bern\"}");
    BOOST_TEST(item["call_id"].get<std::string>().starts_with("call_"));
    if (!stream)
      continue;
    const std::vector<std::string> wanted{"response.created",
                                          "response.in_progress",
                                          "response.output_item.added",
                                          "response.function_call_arguments.delta",
                                          "response.function_call_arguments.delta",
                                          "response.function_call_arguments.done",
                                          "response.output_item.done",
                                          "response.completed"};
    BOOST_TEST(types_of(call) == wanted, boost::test_tools::per_element());
    const auto events = call.events();
    BOOST_TEST(events[3]["delta"].get<std::string>() + events[4]["delta"].get<std::string>() == item["arguments"]);
    BOOST_TEST(events[5]["item_id"] == item["id"]);
    BOOST_TEST(events[5]["arguments"] == item["arguments"]);
  }
}

BOOST_AUTO_TEST_CASE(a_call_that_is_cut_off_is_incomplete) {
  auto call = started({{"input", "x"}, {"tools", weather_tools}}, context_with(qwen));
  call.delta(0, 0, "Hm. <tool_call>{\"name\": \"weather\", \"arguments\": {\"ci");
  call.end(0, finish_reason::length);
  const auto body = call.whole();
  BOOST_TEST(body["status"] == "incomplete");
  BOOST_TEST(body["output"][0]["status"] == "completed");
  BOOST_TEST(body["output"][1]["status"] == "incomplete");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_had_is_named) {
  const auto param = [](const json& body) { return refusal(body)["param"]; };
  BOOST_TEST(param(json::object()) == "input");
  BOOST_TEST(param({{"input", "x"}, {"store", true}}) == "store");
  BOOST_TEST(param({{"input", "x"}, {"previous_response_id", "y"}}) == "previous_response_id");
  BOOST_TEST(param({{"input", "x"}, {"max_output_tokens", 0}}) == "max_output_tokens");
  BOOST_TEST(param({{"input", "x"}, {"tools", json::array({{{"type", "web_search"}, {"filters", 1}}})}}) ==
             "tools[0].type");
  BOOST_TEST(param({{"input", json::array({{{"type", "computer_call"}, {"name", "f"}}})}}) == "input[0].type");
  BOOST_TEST(
    param({{"input", json::array({{{"role", "user"}, {"content", json::array({{{"type", "input_image"}}})}}})}}) ==
    "input[0].content[0].type");
  BOOST_TEST(param({{"input", "x"}, {"text", {{"format", {{"type", "json_object"}}}}}}) == "text.format.type");
  BOOST_TEST(param({{"input", "x"}, {"frequency_penalty", 1}}) == "frequency_penalty");
}

BOOST_AUTO_TEST_SUITE_END()
