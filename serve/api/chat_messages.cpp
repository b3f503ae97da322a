#include "serve/api/chat_messages.hpp"

#include <algorithm>
#include <array>

#include "protocol/limits.hpp"
#include "serve/api/field_rules.hpp"

namespace troupe::serve {
namespace {

struct content_part {
  std::string type;
  std::string text;
  bool has_text = false;
};

constexpr field_rule<content_part> part_rules[] = {
  {"type", "string", &read_member<&content_part::type>},
  {"text", "string",
   [](const place& at, content_part& to) {
     to.has_text = true;
     return read_into(at, to.text);
   }},
  {"prompt_cache_breakpoint", "object", nullptr, "prefixes are cached by themselves"},
  {"cache_control", "object", nullptr, "prefixes are cached by themselves"},
};

/// Before anything else of the part is looked at: "image_url" is refused for its type and not for its members.
expected<void> check_part_type(const place& at, std::string_view other_type) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  const auto type = at.value.find("type");
  if (type == at.value.end())
    return fail(errc::invalid_argument, fmt::format("Field '{}.type' is missing.", at.path));
  const place at_type{at.path + ".type", *type};
  std::string name;
  if (auto read = read_into(at_type, name); !read)
    return read;
  if (name != "text" && name != other_type)
    return fail(errc::unsupported, fmt::format("Field '{}' is {}, but only parts of text are supported.",
                                               at_type.path, in_quotes(name)));
  return {};
}

struct message_fields {
  std::string role;
  std::string content;
  bool has_content = false;
};

constexpr std::array<std::string_view, 4> roles = {"system", "user", "assistant", "developer"};

expected<void> read_role(const place& at, message_fields& to) {
  if (auto read = read_into(at, to.role); !read)
    return read;
  if (std::find(roles.begin(), roles.end(), to.role) == roles.end())
    return wrong_value(at, "must be system, developer, user or assistant");
  if (to.role == "developer")
    to.role = "system";
  return {};
}

expected<void> read_content(const place& at, message_fields& to) {
  to.has_content = true;
  return read_text_content(at, to.content);
}

constexpr field_rule<message_fields> message_rules[] = {
  {"role", "string", &read_role},
  {"content", "string or list of parts of text", &read_content},
  {"name", "string", nullptr, "templates know roles and no names"},
  {"refusal", "string", nullptr, "models refuse in their own words"},
  {"audio", "object", nullptr, "there is text alone"},
  {"tool_calls", "list", nullptr, "tool calls are not there yet"},
  {"tool_call_id", "string", nullptr, "tool calls are not there yet"},
  {"function_call", "object", nullptr, "it is out of date"},
};

} // namespace

expected<void> read_text_content(const place& at, std::string& to, std::string_view other_type) {
  if (at.value.is_string())
    return read_into(at, to);
  if (!at.value.is_array())
    return wrong_kind(at, "a string or a list of parts");
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    if (auto ok = check_part_type(here, other_type); !ok)
      return ok;
    content_part part;
    if (auto read = read_object<content_part>(here, part_rules, part); !read)
      return read;
    if (!part.has_text)
      return fail(errc::invalid_argument, fmt::format("Field '{}.text' is missing.", here.path));
    if (i > 0)
      to += '\n';
    to += part.text;
  }
  return {};
}

expected<void> read_messages(const place& at, prompt_messages& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of messages");
  if (at.value.size() > max_chat_messages)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} messages, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_chat_messages));
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    message_fields message;
    if (auto read = read_object<message_fields>(here, message_rules, message); !read)
      return read;
    if (message.role.empty())
      return fail(errc::invalid_argument, fmt::format("Field '{}.role' is missing.", here.path));
    if (!message.has_content)
      return fail(errc::invalid_argument, fmt::format("Field '{}.content' is missing.", here.path));
    to.push_back({std::move(message.role), std::move(message.content)});
  }
  return {};
}

} // namespace troupe::serve
