// Every row of the tables of fields, which docs/openai-fields.md shows.
#include "tests/serve/api/support.hpp"

#include <map>

#include "serve/api/call_fields.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(fields_suite)

namespace {

/// A value that is taken, for each field that is done; and those that are not, where the kind is right.
struct example {
  json taken;
  std::vector<json> refused{};
};

const std::map<std::string, example, std::less<>> examples = {
  {"model", {"tiny", {"other"}}},
  {"stream", {true}},
  {"stream_options", {{{"include_usage", true}, {"include_obfuscation", false}}, {{{"include_obfuscation", true}}}}},
  {"temperature", {0, {-0.1, 100.5, 1e-7, 1e300}}},
  {"top_p", {0.5, {0, 1.1, -1}}},
  {"n", {3, {0, 129, -1, 4294967296}}},
  {"seed", {-3}},
  {"stop", {json::array({"a", "b"}), {"", json::array({"a", 3})}}},
  {"presence_penalty", {-2, {-2.1, 2.1}}},
  {"frequency_penalty", {2, {-2.1, 2.1}}},
  {"logit_bias", {{{"5", 1}}, {{{"5", 101}}, {{"-1", 1}}, {{"05", 1}}, {{"5", "x"}}, {{"99999", 1}}}}},
  {"user", {"me"}},
  {"max_tokens", {1, {0, -1, 4294967296}}}, // 0 is for echoes and logprobs of prompts.
  {"max_completion_tokens", {1, {-1, 4294967296}}},
  {"top_k", {-1, {-2, 1.5}}},
  {"min_p", {0.1, {-0.1, 1.1}}},
  {"typical_p", {0.9, {0, 1.1}}},
  {"repetition_penalty", {1.2, {0, 101}}},
  {"min_tokens", {4, {-1}}},
  {"ignore_eos", {true}},
  {"stop_token_ids", {json::array({5}), {json::array({-1}), json::array({99999}), json::array({1.5})}}},
  {"bad_words", {json::array({"x"}), {json::array({""})}}},
  {"allowed_token_ids", {json::array({5}), {json::array({-1}), json::array({99999})}}},
  {"prompt_logprobs", {2, {-1, 21}}},
  {"best_of", {3, {0, 129}}},
  {"priority", {3, {1001, -1001}}},
  {"cache_salt", {"x", {std::string(257, 'x')}}},
  {"skip_special_tokens", {true, {false}}},
  {"spaces_between_special_tokens", {false}},
  {"include_stop_str_in_output", {false, {true}}},
  {"return_tokens_as_token_ids", {false, {true}}},
  {"return_token_ids", {false, {true}}},
  {"use_beam_search", {false, {true}}},
  {"return_token_offsets", {false, {true}}},
  {"return_mm_kwargs", {false, {true}}},
  {"return_prompt_text", {false, {true}}},
  {"length_penalty", {1, {0.5}}},
  // Completions alone.
  {"prompt", {"x", {"", json::array(), json::array({-1}), json::array({99999})}}},
  {"add_special_tokens", {true, {false}}},
  // Chat alone.
  {"messages", {json::array({{{"role", "user"}, {"content", "x"}}}), {json::array(), json::array({3})}}},
  {"response_format", {{{"type", "text"}}, {{{"type", "json_object"}}, json::object()}}},
  {"modalities", {json::array({"text"}), {json::array({"audio"})}}},
  {"metadata", {{{"a", "b"}}, {{{"a", 3}}}}},
  {"store", {false, {true}}},
  {"safety_identifier", {"x"}},
  {"prompt_cache_key", {"x"}},
  {"service_tier", {"auto", {"flex", "gold"}}},
  {"verbosity", {"medium", {"low", "loud"}}},
  {"add_generation_prompt", {false}},
  {"tool_choice", {"none", {"required", "x", {{"type", "function"}, {"function", {{"name", "f"}}}}}}},
  {"parallel_tool_calls", {true, {false}}},
  {"tools",
   {json::array(), {json::array({3}), json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}})}}},
  {"chat_template_kwargs", {{{"enable_thinking", false}}, {{{"messages", 3}}, {{"bos_token", "x"}}}}},
  {"documents", {json::array({{{"text", "x"}}}), {json::array({"x"})}}},
  {"continue_final_message", {false, {true}}}, // The last message is the user's.
  {"include_reasoning", {false}},
  {"reasoning_effort", {nullptr, {"low", "high"}}},
};

/// Where the two APIs differ.
example example_of(std::string_view name, bool chat) {
  if (name == "logprobs")
    return chat ? example{true, {3}} : example{0, {-1, 21, true}};
  if (name == "top_logprobs")
    return {0, {-1, 21}};
  if (name == "echo")
    return chat ? example{false, {true}} : example{true};
  if (name == "add_special_tokens" && chat)
    return {false, {true}};
  const auto found = examples.find(name);
  BOOST_REQUIRE_MESSAGE(found != examples.end(), "no example for the field " << name);
  return found->second;
}

struct api {
  route call;
  serve::call_table own;
  json least;
  bool chat;
};

std::vector<api> apis() {
  return {
    {&serve::completions, serve::completion_table(), {{"prompt", "x"}}, false},
    {&serve::chat_completions,
     serve::chat_table(),
     {{"messages", json::array({{{"role", "user"}, {"content", "x"}}})}},
     true},
  };
}

template <class Visit>
void each_row(Visit visit) {
  for (const auto& api : apis())
    for (const auto& table : {api.own, serve::shared_call_table()})
      for (const auto& rule : table)
        visit(api, rule);
}

json body_with(const api& api, std::string_view name, const json& value) {
  auto body = api.least;
  body[std::string(name)] = value;
  if (name == "stream_options")
    body["stream"] = true;
  if (name == "top_logprobs")
    body["logprobs"] = true;
  return body;
}

void expect_refusal(const api& api, std::string_view name, const json& value) {
  const auto body = body_with(api, name, value);
  const auto error = refused(api.call, body);
  const auto param = error["param"].is_string() ? error["param"].get<std::string>() : std::string();
  const bool named = param.starts_with(name) || (name == "max_completion_tokens" && param == "max_tokens");
  BOOST_TEST(named, body.dump() << " names " << param << ": " << error.dump());
  BOOST_TEST((error["status"] == 400 || (name == "model" && error["status"] == 404)));
}

} // namespace

BOOST_AUTO_TEST_CASE(each_field_that_is_done_takes_its_values_and_refuses_others) {
  each_row([](const api& api, const auto& rule) {
    if (!rule.read)
      return;
    BOOST_TEST_CONTEXT(rule.name) {
      const auto values = example_of(rule.name, api.chat);
      taken(api.call, body_with(api, rule.name, values.taken));
      for (const auto& value : values.refused)
        expect_refusal(api, rule.name, value);
      if (rule.name != "chat_template_kwargs")                   // Whose members may be anything.
        expect_refusal(api, rule.name, {{"a", json::object()}}); // Of no kind that there is.
    }
  });
}

BOOST_AUTO_TEST_CASE(each_field_that_is_refused_is_named_and_null_is_not_refused) {
  each_row([](const api& api, const auto& rule) {
    if (rule.read)
      return;
    BOOST_TEST(!rule.note.empty());
    for (const json& value : {json(true), json(3), json("x"), json::object(), json::array()})
      expect_refusal(api, rule.name, value);
    taken(api.call, body_with(api, rule.name, nullptr));
  });
}

BOOST_AUTO_TEST_CASE(no_field_stands_twice_in_the_tables_of_one_body) {
  for (const auto& api : apis()) {
    std::map<std::string_view, int> seen;
    for (const auto& table : {api.own, serve::shared_call_table()})
      for (const auto& rule : table)
        BOOST_TEST(++seen[rule.name] == 1, rule.name);
  }
}

BOOST_AUTO_TEST_CASE(a_field_that_does_not_exist_is_named) {
  for (const auto& api : apis()) {
    const auto error = refused(api.call, body_with(api, "tempereture", 1));
    BOOST_TEST(error["param"] == "tempereture");
    BOOST_TEST(error["code"] == "unknown_parameter");
    expect_refusal(api, "no_such_field", nullptr); // Not even as null.
  }
}

BOOST_AUTO_TEST_SUITE_END()
