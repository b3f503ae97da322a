// The fields of /v1/chat/completions alone.
#include "protocol/limits.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

expected<void> read_chat_messages(const place& at, call_fields& to) {
  return read_messages(at, to.chat);
}

expected<void> read_metadata(const place& at, call_fields&) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object of strings");
  for (const auto& [key, value] : at.value.items())
    if (!value.is_string())
      return wrong_kind(at.path + "." + std::string(cut_utf8(key, 64)), value, "a string");
  return {};
}

expected<void> read_modalities(const place& at, call_fields&) {
  std::vector<std::string> words;
  if (auto read = read_into(at, words); !read)
    return read;
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] != "text")
      return fail(errc::unsupported, fmt::format("Field '{}[{}]' is {}, but only 'text' is supported.", at.path, i,
                                                 in_quotes(words[i])));
  return {};
}

expected<void> read_top_logprobs(const place& at, call_fields& to) {
  auto count = integer_at(at, 0, max_logprobs);
  if (!count)
    return tl::unexpected(std::move(count.error()));
  to.top_logprobs = static_cast<std::int32_t>(*count);
  return {};
}

expected<void> read_chat_tools(const place& at, call_fields& to) {
  return read_tools(at, to.chat);
}

/// What is to be called is the model's choice.
expected<void> read_tool_choice(const place& at, call_fields& to) {
  if (at.value == "auto" || at.value == "none") {
    to.chat.tools_off = at.value == "none";
    return {};
  }
  if (!at.value.is_string() && !at.value.is_object())
    return wrong_kind(at, "a string or an object");
  return refused_field(at.path, "a model cannot be made to call a function yet, only auto and none are taken");
}

/// Variables of the template, beside those that have fields of their own.
expected<void> read_template_variables(const place& at, call_fields& to) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  if (at.value.size() > max_chat_variables / 2) // Others join them.
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} members, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_chat_variables / 2));
  for (const auto& [key, value] : at.value.items()) {
    for (const std::string_view own : {"messages", "tools", "documents", "add_generation_prompt", "bos_token",
                                       "eos_token", "reasoning_effort", "continue_final_message"})
      if (key == own)
        return fail(errc::invalid_argument,
                    fmt::format("Field '{}.{}' is not for here: it is the API's or the model's own.", at.path, own));
    to.chat.variables[key] = value;
  }
  return {};
}

expected<void> read_documents(const place& at, call_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of objects");
  for (std::size_t i = 0; i < at.value.size(); ++i)
    if (!at.value[i].is_object())
      return wrong_kind(at.item(i), "an object");
  to.chat.variables["documents"] = at.value;
  return {};
}

expected<void> read_add_generation_prompt(const place& at, call_fields& to) {
  return read_into(at, to.chat.add_generation_prompt);
}

expected<void> read_continue_final_message(const place& at, call_fields& to) {
  return read_into(at, to.chat.continue_final);
}

expected<void> read_effort(const place& at, call_fields& to) {
  return read_into(at, to.chat.effort.emplace());
}

expected<void> read_include_reasoning(const place& at, call_fields& to) {
  return read_into(at, to.chat.include_reasoning);
}

constexpr std::string_view no_audio = "answers are text";

constexpr field_rule<call_fields> chat_rules[] = {
  {"messages", kind::message_list, &read_chat_messages, "content is text or parts of text", is_needed},
  {"max_completion_tokens", kind::integer_from<1>,
   [](const place& at, call_fields& to) { return read_length(at, to.max_completion_tokens); },
   "absent, and max_tokens too: what the context leaves"},
  {"logprobs", kind::boolean, &read_member<&call_fields::chat_logprobs>},
  {"top_logprobs", kind::integer_in<0, max_logprobs>, &read_top_logprobs, "with logprobs"},
  {"modalities", kind::list<kind::word<"text">>, &read_modalities, "only \"text\""},
  {"metadata", kind::map<kind::text>, &read_metadata, "nothing is done with it"},
  {"store", kind::only<false>, &read_only<false>, "answers are not kept"},
  {"safety_identifier", kind::text, &read_ignored<std::string>, "nothing is done with it"},
  {"prompt_cache_key", kind::text, &read_ignored<std::string>,
   "nothing is done with it: prefixes are found by their contents"},
  {"service_tier", kind::word<"auto", "default">, &read_word<call_fields, "auto", "default">},
  {"verbosity", kind::word<"medium">, &read_word<call_fields, "medium">, "it asks for nothing"},
  {"audio", kind::object, nullptr, no_audio},
  {"function_call", kind::either<kind::text, kind::object>, nullptr, "it is out of date: use tool_choice"},
  {"functions", kind::list<kind::anything>, nullptr, "it is out of date: use tools"},
  {"tools", kind::tool_list, &read_chat_tools, "where the model's template knows tools"},
  {"tool_choice", kind::word<"auto", "none">, &read_tool_choice},
  {"parallel_tool_calls", kind::only<true>, &read_only<true>},
  {"moderation", kind::object, nullptr, "there is no moderation model"},
  {"prediction", kind::object, nullptr, "drafts are the server's own"},
  {"prompt_cache_options", kind::object, nullptr, "prefixes are cached by themselves"},
  {"prompt_cache_retention", kind::text, nullptr, "prefixes are kept as long as there is room"},
  {"reasoning_effort", kind::text, &read_effort, "where the model's template knows it"},
  {"web_search_options", kind::object, nullptr, "the server searches nothing"},
  // vLLM's.
  {"echo", kind::only<false>, &read_only<false>},
  {"add_generation_prompt", kind::boolean, &read_add_generation_prompt,
   "absent: true, unless the last message is continued"},
  {"continue_final_message", kind::boolean, &read_continue_final_message,
   "a last message of the assistant is gone on with"},
  {"add_special_tokens", kind::only<false>, &read_only<false>, "the template brings them"},
  {"include_reasoning", kind::boolean, &read_include_reasoning},
  {"chat_template", kind::text, nullptr, "the model's own template is used"},
  {"chat_template_kwargs", kind::object, &read_template_variables, "variables of the model's template"},
  {"documents", kind::list<kind::object>, &read_documents, "for templates that know them"},
  {"return_prompt_text", kind::only<false>, &read_only<false>},
  {"media_io_kwargs", kind::object, nullptr, "there is text alone"},
  {"mm_processor_kwargs", kind::object, nullptr, "there is text alone"},
};

} // namespace

call_table chat_table() {
  return chat_rules;
}

json kind::completion_body() {
  return schema_of(rows_of(completion_table(), shared_call_table()));
}

json kind::chat_body() {
  return schema_of(rows_of(chat_table(), shared_call_table()));
}

expected<void> read_as_in(call_table table, std::string_view name, const place& at, call_fields& to) {
  for (const auto& rule : table)
    if (rule.name == name)
      return rule.read ? rule.read(at, to) : expected<void>(refused_field(at.path, rule.note));
  return fail(errc::internal, fmt::format("There is no rule for the field '{}'.", name));
}

expected<call_fields> read_chat(const json& body) {
  call_fields fields;
  const call_table tables[] = {chat_table(), shared_call_table()};
  if (auto read = read_members<call_fields>("", body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  const bool logprobs = fields.chat_logprobs.value_or(false);
  const auto top = fields.top_logprobs.value_or(0);
  if (top > 0 && !logprobs)
    return fail(errc::invalid_argument, "Field 'top_logprobs' is there, but 'logprobs' is not true.");
  fields.request.sampling.logprobs = logprobs ? top : -1;
  if (fields.max_tokens && fields.max_completion_tokens && *fields.max_tokens != *fields.max_completion_tokens)
    return fail(errc::invalid_argument, "Field 'max_completion_tokens' differs from 'max_tokens', which is its older "
                                        "name. Send one of them.");
  if (!fields.max_tokens)
    fields.max_tokens = fields.max_completion_tokens;
  return fields;
}

} // namespace troupe::serve
