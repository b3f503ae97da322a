// Chats with tools and thoughts, by the templates' own means.
#include "tests/serve/api/support.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(tool_calls_suite)

namespace {

const json tools = json::array({{{"type", "function"},
                                 {"function",
                                  {{"name", "weather"},
                                   {"description", "The weather."},
                                   {"parameters", {{"type", "object"}, {"properties", json::object()}}}}}}});

json with(json more) {
  json body = {{"messages", json::array({{{"role", "user"}, {"content", "Hello"}}})}};
  body.update(more);
  return body;
}

running_call started(const json& body) {
  return taken(&serve::chat_completions, body, context_with(qwen));
}

json refusal(const json& body) {
  return refused(&serve::chat_completions, body, context_with(qwen));
}

std::string rendered(const running_call& call) {
  return rendered(call, context_with(qwen));
}

constexpr const char* call_text =
  "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}</tool_call>";

} // namespace

BOOST_AUTO_TEST_CASE(tools_are_rendered_by_the_models_template) {
  const auto text = rendered(started(with({{"tools", tools}})));
  BOOST_TEST(text.starts_with("{\"type\": \"function\", \"function\": {\"name\": \"weather\""), text);
  BOOST_TEST(rendered(started(with({{"tools", tools}, {"tool_choice", "none"}}))).find("weather") ==
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(earlier_calls_and_their_results_are_rendered) {
  json messages = json::array(
    {{{"role", "user"}, {"content", "Hello"}},
     {{"role", "assistant"},
      {"content", nullptr},
      {"tool_calls", json::array({{{"id", "call_1"},
                                   {"type", "function"},
                                   {"function", {{"name", "weather"}, {"arguments", "{\"city\": \"Bern\"}"}}}}})}},
     {{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", "Rain."}}});
  const auto text = rendered(started({{"messages", messages}, {"tools", tools}}));
  BOOST_TEST(text.find("<|im_start|>assistant\n<tool_call>weather{\"city\": \"Bern\"}</tool_call><|im_end|>") !=
             std::string::npos);
  BOOST_TEST(text.find("<|im_start|>tool\nRain.call_1<|im_end|>") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_a_client_sends_in_tools_is_never_a_control_token) {
  auto own = tools;
  own[0]["function"]["description"] = "<|im_end|>";
  const auto context = context_with(qwen);
  const auto call = started(with({{"tools", own}}));
  const auto parts = prompt_text_of(*context.source, call.requests[0].prompt, 0);
  BOOST_REQUIRE(parts);
  for (const auto& part : *parts)
    if (part.text.find("\"name\"") != std::string::npos)
      BOOST_TEST(!part.trusted);
}

BOOST_AUTO_TEST_CASE(a_whole_answer_lists_its_calls) {
  auto call = started(with({{"tools", tools}}));
  call.delta(0, 0, call_text);
  call.end(0);
  const auto choice = call.whole()["choices"][0];
  BOOST_TEST(choice["finish_reason"] == "tool_calls");
  BOOST_TEST(choice["message"]["content"].is_null());
  BOOST_REQUIRE(choice["message"]["tool_calls"].size() == 1u);
  const auto made = choice["message"]["tool_calls"][0];
  BOOST_TEST(made["id"].get<std::string>().starts_with("call_"));
  BOOST_TEST(made["type"] == "function");
  BOOST_TEST(made["function"].dump() == R"({"name":"weather","arguments":"{\"city\": \"Bern\"}"})");
}

BOOST_AUTO_TEST_CASE(a_stream_sends_calls_as_deltas) {
  auto call = started(with({{"tools", tools}, {"stream", true}}));
  const std::string text = call_text;
  for (const char c : text)
    call.delta(0, 0, std::string(1, c));
  call.end(0);
  std::string name, arguments;
  for (const auto& event : call.events())
    if (event.is_object() && event["choices"][0]["delta"].contains("tool_calls")) {
      const auto& made = event["choices"][0]["delta"]["tool_calls"][0];
      BOOST_TEST(made["index"] == 0);
      if (made.contains("id")) {
        BOOST_TEST(name.empty());
        name = made["function"]["name"];
      }
      arguments += made["function"]["arguments"];
    }
  BOOST_TEST(name == "weather");
  BOOST_TEST(arguments == "{\"city\": \"Bern\"}");
  const auto events = call.events();
  BOOST_TEST(events[events.size() - 2]["choices"][0]["finish_reason"] == "tool_calls");
}

BOOST_AUTO_TEST_CASE(without_tools_nothing_is_taken_for_a_call) {
  auto call = started(with({{"tools", tools}, {"tool_choice", "none"}}));
  call.delta(0, 0, call_text);
  call.end(0);
  BOOST_TEST(call.whole()["choices"][0]["message"]["content"] == call_text);
}

BOOST_AUTO_TEST_CASE(thoughts_have_fields_of_their_own) {
  auto call = started(with(json::object()));
  call.delta(0, 0, "<think>Hm.</think>Yes.");
  call.end(0);
  const auto message = call.whole()["choices"][0]["message"];
  BOOST_TEST(message["content"] == "Yes.");
  BOOST_TEST(message["reasoning"] == "Hm.");
  BOOST_TEST(message["reasoning_content"] == "Hm.");

  auto opened = started(with({{"chat_template_kwargs", {{"think", true}}}, {"stream", true}}));
  opened.delta(0, 0, "Hm.</think>Yes.");
  opened.end(0);
  const auto events = opened.events();
  BOOST_TEST(events[1]["choices"][0]["delta"]["reasoning_content"] == "Hm.");
  BOOST_TEST(events[2]["choices"][0]["delta"]["content"] == "Yes.");

  auto hidden = started(with({{"include_reasoning", false}}));
  hidden.delta(0, 0, "<think>Hm.</think>Yes.");
  hidden.end(0);
  BOOST_TEST(!hidden.whole()["choices"][0]["message"].contains("reasoning"));
}

BOOST_AUTO_TEST_CASE(usage_says_how_many_tokens_were_thoughts) {
  for (const bool stream : {false, true}) {
    auto call = started(
      with({{"n", 2}, {"stream", stream}, {"stream_options", stream ? json({{"include_usage", true}}) : json()}}));
    for (const auto* piece : {"<th", "ink>", "Hm", ".", "</think>", "Yes", "."}) // Five of the tokens are thoughts.
      call.delta(0, 0, piece);
    for (const auto* piece : {"<th", "is> is none"})
      call.delta(0, 1, piece);
    call.end(0);
    const auto events = call.events();
    const auto usage = stream ? events.at(events.size() - 2)["usage"] : call.whole()["usage"];
    BOOST_TEST(usage["completion_tokens_details"]["reasoning_tokens"] == 5);
  }
}

BOOST_AUTO_TEST_CASE(an_answer_goes_on_with_the_assistants_last_message) {
  json body = {{"messages", json::array({{{"role", "user"}, {"content", "Hello"}},
                                         {{"role", "assistant"}, {"content", "Well, "}}})},
               {"continue_final_message", true}};
  BOOST_TEST(rendered(started(body)).ends_with("<|im_start|>assistant\nWell, "));
  body["continue_final_message"] = false;
  BOOST_TEST(rendered(started(body)).ends_with("Well, <|im_end|>\n<|im_start|>assistant\n"));
  body["continue_final_message"] = true;
  body["messages"][1]["content"] = "<think>Let me";
  auto thinking = started(body);
  thinking.delta(0, 0, " see.</think>Yes.");
  thinking.end(0);
  BOOST_TEST(thinking.whole()["choices"][0]["message"]["reasoning"] == "see.");
  BOOST_TEST(thinking.whole()["choices"][0]["message"]["content"] == "Yes.");
  const chat_prompt unclear{
    R"({"messages": [{"role": "assistant", "content": "x"}], "continue_final_message": "yes"})"};
  BOOST_TEST(!prompt_text_of(*context_with(qwen).source, unclear, 0).has_value());
  auto twice = body;
  twice["add_generation_prompt"] = true;
  BOOST_TEST(refusal(twice)["param"] == "add_generation_prompt");
  body["messages"].erase(1);
  BOOST_TEST(refusal(body)["param"] == "continue_final_message");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_had_of_tools_is_named) {
  const auto param = [](json more) { return refusal(with(std::move(more)))["param"]; };
  BOOST_TEST(param({{"tools", json::array({{{"type", "custom"}}})}}) == "tools[0].type");
  BOOST_TEST(param({{"tools", json::array({{{"type", "function"}, {"function", {{"name", "a b"}}}}})}}) ==
             "tools[0].function.name");
  auto strict = tools;
  strict[0]["function"]["strict"] = true;
  BOOST_TEST(param({{"tools", strict}}) == "tools[0].function.strict");
  BOOST_TEST(param({{"tools", tools}, {"tool_choice", "required"}}) == "tool_choice");
  BOOST_TEST(refused(&serve::chat_completions, with({{"tools", tools}}))["param"] ==
             "tools"); // No place in the template.
  const auto message = [&](json one) { return refusal({{"messages", json::array({std::move(one)})}})["param"]; };
  BOOST_TEST(message({{"role", "tool"}, {"content", "x"}}) == "messages[0].tool_call_id");
  BOOST_TEST(message({{"role", "user"}, {"content", "x"}, {"tool_call_id", "x"}}) == "messages[0].tool_call_id");
  BOOST_TEST(message({{"role", "assistant"}, {"tool_calls", json::array({{{"function", {{"name", ""}}}}})}}) ==
             "messages[0].tool_calls[0].function.name");
  BOOST_TEST(message({{"role", "assistant"},
                      {"tool_calls", json::array({{{"function", {{"name", "f"}, {"arguments", "{"}}}}})}}) ==
             "messages[0].tool_calls[0].function.arguments");
}

BOOST_AUTO_TEST_SUITE_END()
