#include "serve/api/response_fields.hpp"

#include "protocol/limits.hpp"
#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

template <bool Shared>
expected<void> as_in_chat(const place& at, response_fields& to) {
  return read_as_in(Shared ? shared_call_table() : chat_table(), at.path, at, to.call);
}

expected<void> read_input(const place& at, response_fields& to) {
  return read_input_items(at, to.call.chat);
}

expected<void> read_tools(const place& at, response_fields& to) {
  to.tools = at.value;
  return read_response_tools(at, to.call.chat);
}

expected<void> read_tool_choice(const place& at, response_fields& to) {
  if (at.value.is_string())
    to.tool_choice = at.value.get<std::string>();
  return as_in_chat<false>(at, to);
}

struct text_fields {
  call_fields call;
};

constexpr field_rule<text_fields> text_rules[] = {
  {"format", kind::text_format,
   [](const place& at, text_fields& to) { return read_as_in(shared_call_table(), "response_format", at, to.call); },
   "guided decoding is not there yet"},
  {"verbosity", kind::word<"medium">, &read_word<text_fields, "medium">, "it asks for nothing"},
};

expected<void> read_text(const place& at, response_fields&) {
  text_fields ignored;
  return read_object<text_fields>(at, text_rules, ignored);
}

expected<void> read_metadata(const place& at, response_fields& to) {
  if (auto read = as_in_chat<false>(at, to); !read)
    return read;
  to.metadata = at.value;
  return {};
}

expected<void> read_instructions(const place& at, response_fields& to) {
  std::string text;
  if (auto read = read_into(at, text); !read)
    return read;
  to.instructions = std::move(text);
  return {};
}

expected<void> read_empty_list(const place& at, response_fields&) {
  if (at.value.is_array() && at.value.empty())
    return {};
  return refused_field(at.path, "nothing more is said than the answer");
}

json no_members() {
  auto schema = kind::object();
  schema["maxProperties"] = 0;
  return schema;
}

expected<void> read_reasoning(const place& at, response_fields&) {
  if (at.value.is_object() && at.value.empty())
    return {};
  return refused_field(at.path, "the model thinks as it has learned to");
}

constexpr std::string_view not_kept = "answers are not kept";

constexpr field_rule<response_fields> response_rules[] = {
  {"input", kind::input_items, &read_input, "", is_needed},
  {"instructions", kind::text, &read_instructions, "a message of the system, before all others"},
  {"model", kind::text, &as_in_chat<true>},
  {"stream", kind::boolean, &as_in_chat<true>},
  {"temperature", kind::number_in<0, max_temperature>, &as_in_chat<true>},
  {"top_p", kind::share, &as_in_chat<true>},
  {"user", kind::text, &as_in_chat<true>},
  {"max_output_tokens", kind::integer_from<1>,
   [](const place& at, response_fields& to) { return read_length(at, to.call.max_tokens); }},
  {"metadata", kind::map<kind::text>, &read_metadata, "comes back in the answer"},
  {"store", kind::only<false>, &read_only<false>, "answers are not kept"},
  {"background", kind::only<false>, &read_only<false>},
  {"parallel_tool_calls", kind::only<true>, &as_in_chat<false>},
  {"safety_identifier", kind::text, &as_in_chat<false>},
  {"prompt_cache_key", kind::text, &as_in_chat<false>},
  {"service_tier", kind::word<"auto", "default">, &as_in_chat<false>},
  {"text", kind::members<text_rules>, &read_text},
  {"tools", kind::response_tool_list, &read_tools, "where the model's template knows tools"},
  {"tool_choice", kind::word<"auto", "none">, &read_tool_choice},
  {"truncation", kind::word<"disabled">, &read_word<response_fields, "disabled">},
  {"include", kind::list<kind::anything, 0>, &read_empty_list},
  {"reasoning", no_members, &read_reasoning, "the model thinks as it has learned to"},
  {"top_logprobs", kind::integer, nullptr, "logprobs are to be had of /v1/chat/completions"},
  {"stream_options", kind::object, nullptr, "events are not padded"},
  {"previous_response_id", kind::text, nullptr, not_kept},
  {"conversation", kind::either<kind::text, kind::object>, nullptr, not_kept},
  {"prompt", kind::object, nullptr, not_kept},
  {"max_tool_calls", kind::integer, nullptr, "no tools are called here"},
  {"moderation", kind::object, nullptr, "there is no moderation model"},
  {"prompt_cache_options", kind::object, nullptr, "prefixes are cached by themselves"},
  {"prompt_cache_retention", kind::text, nullptr, "prefixes are kept as long as there is room"},
  {"access_programs", kind::object, nullptr, "there are none"},
  {"background_options", kind::object, nullptr, "nothing is done in the background"},
  {"context_management", kind::list<kind::anything>, nullptr, "a chat is taken as a whole or refused"},
  {"image", kind::object, nullptr, "there is text alone"},
};

} // namespace

expected<response_fields> read_response(const json& body) {
  response_fields fields;
  const field_table<response_fields> tables[] = {response_rules};
  if (auto read = read_members<response_fields>("", body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  auto& messages = fields.call.chat.messages;
  if (!fields.instructions.is_null())
    messages.insert(messages.begin(), json{{"role", "system"}, {"content", fields.instructions}});
  return fields;
}

std::vector<field_row> response_rows() {
  return rows_of(response_rules);
}

json kind::response_body() {
  return schema_of(response_rows());
}

} // namespace troupe::serve
