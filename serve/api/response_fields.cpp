#include "serve/api/response_fields.hpp"

#include <algorithm>
#include <array>

#include "protocol/limits.hpp"
#include "serve/api/chat_messages.hpp"

namespace troupe::serve {
namespace {

template <bool Shared>
expected<void> as_in_chat(const place& at, response_fields& to) {
  return read_as_in(Shared ? shared_call_table() : chat_table(), at.path, at, to.call);
}

struct input_item {
  std::string role;
  const json* content = nullptr;
};

expected<void> read_item_type(const place& at, input_item&) {
  std::string type;
  if (auto read = read_into(at, type); !read)
    return read;
  if (type != "message")
    return fail(errc::unsupported,
                fmt::format("Field '{}' is {}, but only messages are supported.", at.path, in_quotes(type)));
  return {};
}

expected<void> read_item_role(const place& at, input_item& to) {
  if (auto read = read_into(at, to.role); !read)
    return read;
  constexpr std::array<std::string_view, 4> roles = {"user", "assistant", "system", "developer"};
  if (std::find(roles.begin(), roles.end(), to.role) == roles.end())
    return wrong_value(at, "must be system, developer, user or assistant");
  return {};
}

constexpr field_rule<input_item> item_rules[] = {
  {"type", "string", &read_item_type},
  {"role", "string", &read_item_role},
  {"content", "string or list of parts of text",
   [](const place& at, input_item& to) -> expected<void> {
     to.content = &at.value;
     return {};
   }},
  {"id", "string", &read_ignored<std::string>},
  {"status", "string", &read_ignored<std::string>},
};

expected<void> read_input(const place& at, response_fields& to) {
  auto& messages = to.call.chat.messages;
  if (at.value.is_string()) {
    messages.push_back({{"role", "user"}, {"content", at.value}});
    return {};
  }
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of messages");
  if (at.value.size() > max_chat_messages)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} items, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_chat_messages));
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    input_item item;
    if (here.value.is_object() && here.value.contains("type")) // Before the members of a kind that is not known.
      if (auto read = read_item_type({here.path + ".type", here.value["type"]}, item); !read)
        return read;
    if (auto read = read_object<input_item>(here, item_rules, item); !read)
      return read;
    if (item.role.empty() || !item.content)
      return fail(errc::invalid_argument,
                  fmt::format("Field '{}.{}' is missing.", here.path, item.role.empty() ? "role" : "content"));
    std::string text;
    const auto part = item.role == "assistant" ? "output_text" : "input_text";
    if (auto read = read_text_content({here.path + ".content", *item.content}, text, part); !read)
      return read;
    messages.push_back({{"role", item.role == "developer" ? "system" : item.role}, {"content", std::move(text)}});
  }
  return {};
}

struct text_format {
  std::string type;
};

struct text_fields {
  std::string verbosity = "medium";
};

constexpr field_rule<text_fields> text_rules[] = {
  {"format", "object",
   [](const place& at, text_fields&) -> expected<void> {
     if (at.value.is_object() && at.value.size() == 1 && at.value.contains("type") && at.value["type"] == "text")
       return {};
     return refused_field(at.path, "guided decoding is not there yet");
   }},
  {"verbosity", "string",
   [](const place& at, text_fields&) -> expected<void> {
     if (at.value == "medium")
       return {};
     return refused_field(at.path, "a model cannot be told so; only medium is taken");
   }},
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

expected<void> read_no_tools(const place& at, response_fields&) {
  if (at.value.is_array() && at.value.empty())
    return {};
  return refused_field(at.path, "tools are called by way of /v1/chat/completions");
}

template <const std::string_view& Only>
expected<void> only_word(const place& at, response_fields&) {
  if (at.value == Only)
    return {};
  return refused_field(at.path, fmt::format("only {} is taken", in_quotes(Only)));
}

expected<void> read_empty_list(const place& at, response_fields&) {
  if (at.value.is_array() && at.value.empty())
    return {};
  return refused_field(at.path, "nothing more is said than the answer");
}

expected<void> read_reasoning(const place& at, response_fields&) {
  if (at.value.is_object() && at.value.empty())
    return {};
  return refused_field(at.path, "the model thinks as it has learned to");
}

constexpr std::string_view disabled = "disabled";
constexpr std::string_view automatic = "auto";
constexpr std::string_view not_kept = "answers are not kept";

constexpr field_rule<response_fields> rules[] = {
  {"input", "string or list of messages", &read_input},
  {"instructions", "string", &read_instructions, "a message of the system, before all others"},
  {"model", "string", &as_in_chat<true>},
  {"stream", "boolean", &as_in_chat<true>},
  {"temperature", "number", &as_in_chat<true>},
  {"top_p", "number", &as_in_chat<true>},
  {"user", "string", &as_in_chat<true>},
  {"max_output_tokens", "integer, 1 or more",
   [](const place& at, response_fields& to) { return read_into(at, to.call.max_tokens); }},
  {"metadata", "object of strings", &read_metadata, "comes back in the answer"},
  {"store", "boolean", &read_only<false>, "only false: answers are not kept"},
  {"background", "boolean", &read_only<false>, "only false"},
  {"parallel_tool_calls", "boolean", &as_in_chat<false>},
  {"safety_identifier", "string", &as_in_chat<false>},
  {"prompt_cache_key", "string", &as_in_chat<false>},
  {"service_tier", "string", &as_in_chat<false>},
  {"text", "object", &read_text, "format only as text"},
  {"tools", "list", &read_no_tools, "only an empty one"},
  {"tool_choice", "string", &only_word<automatic>, "only auto"},
  {"truncation", "string", &only_word<disabled>, "only disabled"},
  {"include", "list", &read_empty_list, "only an empty one"},
  {"reasoning", "object", &read_reasoning, "only an empty one"},
  {"top_logprobs", "integer", nullptr, "logprobs are to be had of /v1/chat/completions"},
  {"stream_options", "object", nullptr, "events are not padded"},
  {"previous_response_id", "string", nullptr, not_kept},
  {"conversation", "string or object", nullptr, not_kept},
  {"prompt", "object", nullptr, not_kept},
  {"max_tool_calls", "integer", nullptr, "no tools are called here"},
  {"moderation", "object", nullptr, "there is no moderation model"},
  {"prompt_cache_options", "object", nullptr, "prefixes are cached by themselves"},
  {"prompt_cache_retention", "string", nullptr, "prefixes are kept as long as there is room"},
  {"access_programs", "object", nullptr, "there are none"},
  {"background_options", "object", nullptr, "nothing is done in the background"},
  {"context_management", "list", nullptr, "a chat is taken as a whole or refused"},
  {"image", "object", nullptr, "there is text alone"},
};

} // namespace

expected<response_fields> read_response(const json& body) {
  response_fields fields;
  const field_table<response_fields> tables[] = {rules};
  if (auto read = read_members<response_fields>("", body, tables, fields); !read)
    return tl::unexpected(std::move(read.error()));
  auto& messages = fields.call.chat.messages;
  if (messages.empty())
    return fail(errc::invalid_argument, "Field 'input' is missing. Give the model something to answer.");
  if (!fields.instructions.is_null())
    messages.insert(messages.begin(), json{{"role", "system"}, {"content", fields.instructions}});
  return fields;
}

} // namespace troupe::serve
