// The body of Anthropic's /v1/messages.
#include "protocol/limits.hpp"
#include "serve/api/chat_messages.hpp"
#include "serve/api/response_fields.hpp"

namespace troupe::serve {
namespace {

expected<void> as_shared(const place& at, anthropic_fields& to) {
  return read_as_in(shared_call_table(), at.path, at, to.call);
}

expected<void> read_chat(const place& at, anthropic_fields& to) {
  return read_anthropic_messages(at, to.call.chat);
}

expected<void> read_system(const place& at, anthropic_fields& to) {
  return read_text_content(at, to.system.emplace());
}

expected<void> read_stops(const place& at, anthropic_fields& to) {
  return read_into(at, to.call.request.sampling.stop);
}

struct user_fields {
  std::string user_id;
};

constexpr field_rule<user_fields> metadata_rules[] = {
  {"user_id", kind::text, &read_member<&user_fields::user_id>},
};

expected<void> read_metadata(const place& at, anthropic_fields&) {
  user_fields ignored;
  return read_object<user_fields>(at, metadata_rules, ignored);
}

struct thinking_fields {};

constexpr field_rule<thinking_fields> thinking_rules[] = {
  {"type", kind::word<"disabled">, &read_word<thinking_fields, "disabled">, "the model thinks as it has learned to",
   is_needed},
  {"budget_tokens", kind::integer_from<1>, nullptr, "the model thinks as long as it has learned to"},
  {"display", kind::text, nullptr, "thoughts are shown"},
};

expected<void> read_thinking(const place& at, anthropic_fields&) {
  thinking_fields ignored;
  return read_object<thinking_fields>(at, thinking_rules, ignored);
}

constexpr std::string_view own_choice = "a model cannot be made to call a function yet";

constexpr field_rule<chat_fields> choice_rules[] = {
  {"type", kind::word<"auto", "none">,
   [](const place& at, chat_fields& to) {
     return word_at<"auto", "none">(at).map([&](const std::string& type) { to.tools_off = type == "none"; });
   },
   own_choice, is_needed},
  {"disable_parallel_tool_use", kind::only<false>, &read_only<false>, "a model makes as many calls as it likes"},
  {"name", kind::text, nullptr, own_choice},
};

expected<void> read_tool_choice(const place& at, anthropic_fields& to) {
  return read_object<chat_fields>(at, choice_rules, to.call.chat);
}

expected<void> read_tools(const place& at, anthropic_fields& to) {
  return read_anthropic_tools(at, to.call.chat);
}

expected<void> read_nothing(const place& at, anthropic_fields&) {
  return at.value.is_object() ? expected<void>() : wrong_kind(at, "an object");
}

/// What makes the prompt.
constexpr field_rule<anthropic_fields> prompt_rules[] = {
  {"model", kind::text, &as_shared},
  {"messages", kind::anthropic_message_list, &read_chat, "a last one of the assistant is gone on with", is_needed},
  {"system", kind::text_content<>, &read_system},
  {"tools", kind::anthropic_tool_list, &read_tools, "where the model's template knows tools"},
  {"tool_choice", kind::members<choice_rules>, &read_tool_choice},
  {"thinking", kind::members<thinking_rules>, &read_thinking},
  {"cache_control", kind::object, &read_nothing, "prefixes are cached by themselves"},
  {"context_management", kind::object, nullptr, "a chat is taken as a whole or refused"},
  {"output_config", kind::object, nullptr, "guided decoding is not there yet"},
  {"speed", kind::text, nullptr, "it is as fast as it can be"},
  {"user_profile_id", kind::text, nullptr, "nothing is known of users"},
  {"workspace_id", kind::text, nullptr, "there are none"},
  {"mcp_servers", kind::list<kind::anything>, nullptr, "the server calls no others"},
};

/// What makes the answer.
constexpr field_rule<anthropic_fields> answer_rules[] = {
  {"max_tokens", kind::integer_from<1>,
   [](const place& at, anthropic_fields& to) { return read_length(at, to.call.max_tokens); }, "", is_needed},
  {"stop_sequences", kind::list<kind::filled_text<max_stop_bytes>, max_stop_strings>, &read_stops},
  {"stream", kind::boolean, &as_shared},
  {"temperature", kind::number_in<0, max_temperature>, &as_shared},
  {"top_p", kind::share, &as_shared},
  {"top_k", kind::integer_from<-1>, &as_shared},
  {"metadata", kind::members<metadata_rules>, &read_metadata, "nothing is done with it"},
  {"service_tier", kind::word<"auto", "standard_only">, &read_word<anthropic_fields, "auto", "standard_only">},
  {"container", kind::text, nullptr, "there are none"},
  {"diagnostics", kind::object, nullptr, "there are none"},
  {"inference_geo", kind::text, nullptr, "the server is where it is"},
};

expected<anthropic_fields> read_by(const json& body, std::initializer_list<field_table<anthropic_fields>> tables) {
  anthropic_fields fields;
  if (auto read = read_members<anthropic_fields>("", body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  auto& chat = fields.call.chat;
  const auto& last = chat.messages.back();
  chat.continue_final = last["role"] == "assistant" && !last.contains("tool_calls");
  if (fields.system)
    chat.messages.insert(chat.messages.begin(), json{{"role", "system"}, {"content", std::move(*fields.system)}});
  return fields;
}

} // namespace

expected<anthropic_fields> read_anthropic(const json& body) {
  return read_by(body, {prompt_rules, answer_rules});
}

expected<anthropic_fields> read_anthropic_prompt(const json& body) {
  return read_by(body, {prompt_rules});
}

std::vector<field_row> anthropic_rows() {
  return rows_of(prompt_rules, answer_rules);
}

json kind::anthropic_body() {
  return schema_of(anthropic_rows());
}

json kind::anthropic_prompt() {
  return schema_of(rows_of(prompt_rules));
}

} // namespace troupe::serve
