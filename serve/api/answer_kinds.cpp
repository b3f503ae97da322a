#include "serve/api/answer_kinds.hpp"

#include "serve/api/field_kinds.hpp"

namespace troupe::serve::kind {
namespace {

json number() {
  return {{"type", "number"}};
}

json null() {
  return {{"type", "null"}};
}

json list_of_any(json items) {
  return list_of(std::move(items), any_length);
}

/// Its members are named by what the client asked for.
json map_to(json values) {
  return {{"type", "object"}, {"additionalProperties", std::move(values)}};
}

// --- completions and chats -------------------------------------------------------------------------------------------

json usage() {
  return object_of({{"prompt_tokens", count()},
                    {"completion_tokens", count()},
                    {"total_tokens", count()},
                    {"prompt_tokens_details", object_of({{"cached_tokens", count()}})},
                    {"completion_tokens_details", object_of({{"reasoning_tokens", count()}})}});
}

json prompt_logprobs() {
  const auto token = object_of({{"logprob", number()}, {"rank", count()}, {"decoded_token", text()}});
  return list_of_any(or_null(map_to(token)));
}

json completion_logprobs() {
  return or_null(object_of({{"tokens", list_of_any(text())},
                            {"token_logprobs", list_of_any(or_null(number()))},
                            {"top_logprobs", or_null(list_of_any(or_null(map_to(number()))))},
                            {"text_offset", list_of_any(count())}}));
}

json chat_logprobs() {
  const auto bytes = list_of_any(integer_within(0, 255));
  const auto likely = object_of({{"token", text()}, {"logprob", number()}, {"bytes", bytes}});
  auto entry = likely;
  entry["properties"]["top_logprobs"] = list_of_any(likely);
  entry["required"].push_back("top_logprobs");
  return or_null(object_of({{"content", list_of_any(entry)}, {"refusal", null()}}));
}

/// Which stop string or token it was; null: none.
json stop_reason() {
  return or_null(either<text, token_id>());
}

json chat_message() {
  const auto call = object_of({{"id", text()},
                               {"type", constant("function")},
                               {"function", object_of({{"name", text()}, {"arguments", text()}})}});
  return object_of({{"role", constant("assistant")},
                    {"content", or_null(text())},
                    {"refusal", null()},
                    {"reasoning?", text()},
                    {"reasoning_content?", text()},
                    {"tool_calls?", list_of_any(call)}});
}

json answer_with(const char* object, json choice) {
  return object_of({{"id", text()},
                    {"object", constant(object)},
                    {"created", count()},
                    {"model", text()},
                    {"system_fingerprint", text()},
                    {"choices", list_of_any(std::move(choice))},
                    {"usage", usage()},
                    {"prompt_logprobs?", prompt_logprobs()}});
}

// --- responses -------------------------------------------------------------------------------------------------------

json part_of_text(const char* type) {
  return object_of({{"type", constant(type)},
                    {"text", text()},
                    {"annotations?", list<anything, 0>()},
                    {"logprobs?", list<anything, 0>()}});
}

json output_item_kind() {
  const auto status = word<"completed", "incomplete">();
  return any_of({object_of({{"id", text()},
                            {"type", constant("message")},
                            {"role", constant("assistant")},
                            {"status", status},
                            {"content", list_of_any(part_of_text("output_text"))}}),
                 object_of({{"id", text()},
                            {"type", constant("reasoning")},
                            {"summary", list<anything, 0>()},
                            {"content", list_of_any(part_of_text("reasoning_text"))},
                            {"status", status}}),
                 object_of({{"id", text()},
                            {"type", constant("function_call")},
                            {"status", status},
                            {"call_id", text()},
                            {"name", text()},
                            {"arguments", text()}})});
}

json response_usage() {
  return object_of(
    {{"input_tokens", count()},
     {"input_tokens_details", object_of({{"cached_tokens", count()}, {"cache_write_tokens", constant(0)}})},
     {"output_tokens", count()},
     {"output_tokens_details", object_of({{"reasoning_tokens", count()}})},
     {"total_tokens", count()}});
}

// --- messages --------------------------------------------------------------------------------------------------------

json content_block() {
  return any_of({object_of({{"type", constant("text")}, {"text", text()}}),
                 object_of({{"type", constant("thinking")}, {"thinking", text()}, {"signature", text()}}),
                 object_of({{"type", constant("tool_use")}, {"id", text()}, {"name", text()}, {"input", object()}})});
}

json message_usage() {
  return object_of({{"input_tokens", count()},
                    {"cache_creation_input_tokens", constant(0)},
                    {"cache_read_input_tokens", count()},
                    {"output_tokens", count()},
                    {"output_tokens_details", object_of({{"thinking_tokens", count()}})}});
}

} // namespace

json object_of(std::initializer_list<std::pair<std::string, json>> members) {
  json schema = {
    {"type", "object"}, {"properties", json::object()}, {"required", json::array()}, {"additionalProperties", false}};
  for (auto [name, value] : members) {
    if (name.ends_with('?'))
      name.pop_back();
    else
      schema["required"].push_back(name);
    schema["properties"][name] = value;
  }
  return schema;
}

json said(const char* member, const char* what) {
  return object_of({{member, constant(what)}});
}

json like(const json& sample) {
  if (sample.is_object()) {
    auto schema = object_of({});
    for (const auto& [name, value] : sample.items()) {
      schema["properties"][name] = like(value);
      schema["required"].push_back(name);
    }
    return schema;
  }
  if (sample.is_array())
    return list_of_any(sample.empty() ? anything() : like(sample[0]));
  return sample.is_string()           ? text()
         : sample.is_boolean()        ? boolean()
         : sample.is_number_integer() ? integer()
                                      : number();
}

json completion_answer() {
  return answer_with("text_completion", object_of({{"index", count()},
                                                   {"text", text()},
                                                   {"logprobs", completion_logprobs()},
                                                   {"finish_reason", word<"stop", "length">()},
                                                   {"stop_reason", stop_reason()},
                                                   {"prompt_logprobs?", prompt_logprobs()}}));
}

json chat_answer() {
  return answer_with("chat.completion", object_of({{"index", count()},
                                                   {"message", chat_message()},
                                                   {"logprobs", chat_logprobs()},
                                                   {"finish_reason", word<"stop", "length", "tool_calls">()},
                                                   {"stop_reason", stop_reason()}}));
}

json embedding_answer() {
  return object_of({{"object", constant("list")},
                    {"data", list_of_any(object_of({{"object", constant("embedding")},
                                                    {"index", count()},
                                                    {"embedding", any_of({list_of_any(number()), text()})}}))},
                    {"model", text()},
                    {"usage", object_of({{"prompt_tokens", count()}, {"total_tokens", count()}})}});
}

json response_answer() {
  return object_of({{"id", text()},
                    {"object", constant("response")},
                    {"created_at", count()},
                    {"model", text()},
                    {"instructions", or_null(text())},
                    {"metadata", map<text>()},
                    {"temperature", number()},
                    {"top_p", number()},
                    {"max_output_tokens", or_null(count())},
                    {"parallel_tool_calls", constant(true)},
                    {"tool_choice", word<"auto", "none">()},
                    {"tools", list<object>()},
                    {"text", object_of({{"format", said("type", "text")}})},
                    {"truncation", constant("disabled")},
                    {"store", constant(false)},
                    {"previous_response_id", null()},
                    {"status", word<"completed", "incomplete">()},
                    {"output", list_of_any(output_item_kind())},
                    {"error", null()},
                    {"incomplete_details", or_null(said("reason", "max_output_tokens"))},
                    {"usage", response_usage()}});
}

json message_answer() {
  return object_of({{"id", text()},
                    {"type", constant("message")},
                    {"role", constant("assistant")},
                    {"model", text()},
                    {"content", list_of_any(content_block())},
                    {"stop_reason", word<"end_turn", "max_tokens", "stop_sequence", "tool_use">()},
                    {"stop_sequence", or_null(text())},
                    {"usage", message_usage()}});
}

json token_count_answer() {
  return object_of({{"input_tokens", count()}});
}

json tokens_answer() {
  return object_of({{"count", count()},
                    {"max_model_len", count()},
                    {"tokens", list<token_id>()},
                    {"token_strs", or_null(list<text>())}});
}

json text_answer() {
  return object_of({{"prompt", text()}});
}

json model_answer() {
  return object_of({{"id", text()},
                    {"object", constant("model")},
                    {"created", count()},
                    {"owned_by", constant("troupe")},
                    {"root", text()},
                    {"parent", null()},
                    {"max_model_len", count()}});
}

json models_answer() {
  return object_of({{"object", constant("list")}, {"data", list_of_any(model_answer())}});
}

json openai_error() {
  return object_of(
    {{"error", object_of({{"message", text()}, {"type", text()}, {"param", or_null(text())}, {"code", text()}})}});
}

json anthropic_error() {
  return object_of({{"type", constant("error")},
                    {"error", object_of({{"type", text()}, {"message", text()}})},
                    {"request_id", text()}});
}

} // namespace troupe::serve::kind
