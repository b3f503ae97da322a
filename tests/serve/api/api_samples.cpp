// Prints, as one JSON object, what tests that are not written in C++ check: the tables of fields, and an answer of each
// kind, whole and streamed, as the calls make them.
//
//   api_samples
#include <iostream>

#include "serve/api/api.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/embedding_fields.hpp"
#include "serve/api/response_fields.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using serve::json;

namespace {

json told(const std::vector<serve::field_row>& rows) {
  auto list = json::array();
  for (const auto& row : rows)
    list.push_back({{"name", row.name},
                    {"kind", serve::words_of(row.kind())},
                    {"done", row.done},
                    {"note", row.note},
                    {"needed", row.needed}});
  return list;
}

serve::api_context context() {
  auto file = gguf::parse(test::tiny_model());
  auto source = load_model(*file, "tiny");
  auto with_tools = std::make_shared<model>(**source);
  with_tools->chat = *chat_template::parse("{{ messages[0].content }}{# tools <tool_call> <think></think> #}");
  serve::api_context result;
  result.source = with_tools;
  result.model_name = "tiny";
  result.context_length = 512;
  result.started = 1700000000;
  return result;
}

using route = serve::api_outcome (*)(const serve::api_context&, std::string_view);

/// What the engine says: some pieces of text with logprobs, and the end.
json answer_to(route which, json body, const std::vector<std::string>& pieces) {
  const auto logprobs = body.contains("logprobs");
  auto outcome = which(context(), body.dump());
  if (!outcome.call)
    return {{"refused", json::parse(outcome.answer.body)}};
  const auto requests = outcome.call->take_requests();
  std::string out;
  for (const auto& piece : pieces) {
    token_delta delta;
    delta.text = piece;
    delta.token_ids = {50};
    if (logprobs)
      delta.logprobs = {{50, -0.5f, 1, {{50, -0.5f}, {51, -2.5f}}}};
    outcome.call->take(0, std::move(delta), out);
  }
  request_end end;
  end.usage = {5, 2, 1};
  if (requests[0].embed != pooling::none)
    end.embedding = {0.6f, -0.8f};
  outcome.call->take(0, end, out);
  return outcome.call->streams() ? json(out) : json::parse(outcome.call->whole().body);
}

} // namespace

int main() {
  const json user = json::array({{{"role", "user"}, {"content", "Hi"}}});
  const json tools = json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  const json flat_tools =
    json::array({{{"type", "function"}, {"name", "f"}, {"parameters", {{"type", "object"}}}, {"strict", false}}});
  const json anthropic_tools = json::array({{{"name", "f"}, {"input_schema", {{"type", "object"}}}}});
  const std::vector<std::string> text{"<think>Hm.</think>", "Hel", "lo"};
  const std::vector<std::string> call{"<tool_call>{\"name\": \"f\", \"argu", "ments\": {\"x\": 1}}</tool_call>"};
  json answers = json::object();
  for (const bool stream : {false, true}) {
    const std::string suffix = stream ? " stream" : "";
    answers["completion" + suffix] =
      answer_to(&serve::completions, {{"prompt", "x"}, {"logprobs", 1}, {"stream", stream}}, {"Hel", "lo"});
    answers["chat" + suffix] =
      answer_to(&serve::chat_completions,
                {{"messages", user}, {"logprobs", true}, {"top_logprobs", 2}, {"stream", stream}}, text);
    answers["tools" + suffix] =
      answer_to(&serve::chat_completions, {{"messages", user}, {"tools", tools}, {"stream", stream}}, call);
    answers["response" + suffix] = answer_to(&serve::responses, {{"input", "x"}, {"stream", stream}}, text);
    answers["response tools" + suffix] =
      answer_to(&serve::responses, {{"input", "x"}, {"tools", flat_tools}, {"stream", stream}}, call);
    answers["message tools" + suffix] =
      answer_to(&serve::messages,
                {{"messages", user}, {"max_tokens", 9}, {"tools", anthropic_tools}, {"stream", stream}}, call);
    answers["message" + suffix] =
      answer_to(&serve::messages, {{"messages", user}, {"max_tokens", 9}, {"stream", stream}}, text);
  }
  answers["embedding"] = answer_to(&serve::embeddings, {{"input", "x"}}, {});
  answers["models"] = json::parse(serve::models(context()).body);
  const json all = {{"fields",
                     {{"completions", told(serve::rows_of(serve::completion_table(), serve::shared_call_table()))},
                      {"chat", told(serve::rows_of(serve::chat_table(), serve::shared_call_table()))},
                      {"responses", told(serve::response_rows())},
                      {"messages", told(serve::anthropic_rows())},
                      {"embeddings", told(serve::rows_of(serve::embedding_table()))}}},
                    {"answers", std::move(answers)}};
  std::cout << all.dump(1) << std::endl;
}
