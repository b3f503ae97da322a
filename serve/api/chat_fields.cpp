// The fields of /v1/chat/completions alone.
#include "protocol/limits.hpp"
#include "serve/api/call_fields.hpp"
#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

expected<void> read_chat_messages(const place& at, call_fields& to) {
  return read_messages(at, to.chat);
}

/// A string of this kind may only have the value that is done in any case.
template <const std::string_view& Only>
expected<void> only_word(const place& at, call_fields&) {
  std::string word;
  if (auto read = read_into(at, word); !read)
    return read;
  if (word != Only)
    return fail(errc::unsupported, fmt::format("Field '{}' is {}, but only {} is supported.", at.path,
                                               in_quotes(word), in_quotes(Only)));
  return {};
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

expected<void> read_service_tier(const place& at, call_fields&) {
  std::string word;
  if (auto read = read_into(at, word); !read)
    return read;
  if (word != "auto" && word != "default")
    return fail(errc::unsupported, fmt::format("Field '{}' is {}, but only 'auto' and 'default' are supported.",
                                               at.path, in_quotes(word)));
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
    for (const std::string_view own :
         {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token", "reasoning_effort"})
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
  bool value = true;
  if (auto read = read_into(at, value); !read)
    return read;
  to.chat.variables["add_generation_prompt"] = value;
  return {};
}

expected<void> read_effort(const place& at, call_fields& to) {
  return read_into(at, to.chat.effort.emplace());
}

expected<void> read_include_reasoning(const place& at, call_fields& to) {
  return read_into(at, to.chat.include_reasoning);
}

struct format_fields {
  std::string type;
};

expected<void> read_format_type(const place& at, format_fields& to) {
  if (auto read = read_into(at, to.type); !read)
    return read;
  if (to.type != "text")
    return fail(errc::unsupported, fmt::format("Field '{}' is {}, but only 'text' is supported: guided decoding is "
                                               "not there yet.",
                                               at.path, in_quotes(to.type)));
  return {};
}

constexpr field_rule<format_fields> format_rules[] = {
  {"type", "string", &read_format_type, "only \"text\""},
  {"json_schema", "object", nullptr, "guided decoding is not there yet"},
};

expected<void> read_response_format(const place& at, call_fields&) {
  format_fields format;
  if (auto read = read_object<format_fields>(at, format_rules, format); !read)
    return read;
  if (format.type.empty())
    return fail(errc::invalid_argument, fmt::format("Field '{}.type' is missing.", at.path));
  return {};
}

constexpr std::string_view medium = "medium";
constexpr std::string_view no_audio = "answers are text";

constexpr field_rule<call_fields> rules[] = {
  {"messages", "list of messages", &read_chat_messages, "4,096 messages; content is text or parts of text; needed"},
  {"max_completion_tokens", "integer, 1 or more", &read_member<&call_fields::max_completion_tokens>,
   "absent, and max_tokens too: what the context leaves"},
  {"logprobs", "boolean", &read_member<&call_fields::chat_logprobs>},
  {"top_logprobs", "integer, 0 to 20", &read_top_logprobs, "with logprobs"},
  {"response_format", "object", &read_response_format, "only {\"type\": \"text\"}"},
  {"modalities", "list", &read_modalities, "only [\"text\"]"},
  {"metadata", "object of strings", &read_metadata, "nothing is done with it"},
  {"store", "boolean", &read_only<false>, "only false: answers are not kept"},
  {"safety_identifier", "string", &read_ignored<std::string>, "nothing is done with it"},
  {"prompt_cache_key", "string", &read_ignored<std::string>,
   "nothing is done with it: prefixes are found by their contents"},
  {"service_tier", "string", &read_service_tier, "only auto and default"},
  {"verbosity", "string", &only_word<medium>, "only medium, which asks for nothing"},
  {"audio", "object", nullptr, no_audio},
  {"function_call", "string or object", nullptr, "it is out of date: use tool_choice"},
  {"functions", "list", nullptr, "it is out of date: use tools"},
  {"tools", "list of functions", &read_chat_tools, "128 functions, where the model's template knows tools"},
  {"tool_choice", "string", &read_tool_choice, "only auto and none"},
  {"parallel_tool_calls", "boolean", &read_only<true>, "only true"},
  {"moderation", "object", nullptr, "there is no moderation model"},
  {"prediction", "object", nullptr, "drafts are the server's own"},
  {"prompt_cache_options", "object", nullptr, "prefixes are cached by themselves"},
  {"prompt_cache_retention", "string", nullptr, "prefixes are kept as long as there is room"},
  {"reasoning_effort", "string", &read_effort, "where the model's template knows it"},
  {"web_search_options", "object", nullptr, "the server searches nothing"},
  // vLLM's.
  {"echo", "boolean", &read_only<false>, "only false"},
  {"add_generation_prompt", "boolean", &read_add_generation_prompt},
  {"continue_final_message", "boolean", &read_only<false>, "only false"},
  {"add_special_tokens", "boolean", &read_only<false>, "only false: the template brings them"},
  {"include_reasoning", "boolean", &read_include_reasoning},
  {"chat_template", "string", nullptr, "the model's own template is used"},
  {"chat_template_kwargs", "object", &read_template_variables, "variables of the model's template"},
  {"documents", "list of objects", &read_documents, "for templates that know them"},
  {"return_prompt_text", "boolean", &read_only<false>, "only false"},
  {"media_io_kwargs", "object", nullptr, "there is text alone"},
  {"mm_processor_kwargs", "object", nullptr, "there is text alone"},
};

} // namespace

call_table chat_table() {
  return rules;
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
  if (fields.chat.messages.empty())
    return fail(errc::invalid_argument, "Field 'messages' is missing. Send at least one message.");
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
