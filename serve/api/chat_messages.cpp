#include "serve/api/chat_messages.hpp"

#include <algorithm>
#include <array>

#include "protocol/limits.hpp"

namespace troupe::serve {
namespace {

struct called_function {
  std::string name;
  json arguments;
};

/// A string of JSON; the template gets what it says.
expected<void> read_arguments(const place& at, called_function& to) {
  std::string text;
  if (auto read = read_into(at, text); !read)
    return read;
  auto arguments = text.empty() ? expected<json>(json::object()) : parse_strict_json(text);
  if (!arguments)
    return fail(errc::invalid_argument,
                fmt::format("Field '{}' is no text of JSON: {}", at.path, arguments.error().message));
  if (!arguments->is_object())
    return fail(errc::invalid_argument, fmt::format("Field '{}' is JSON, but no object.", at.path));
  to.arguments = std::move(*arguments);
  return {};
}

constexpr field_rule<called_function> called_function_rules[] = {
  {"name", "string", &read_member<&called_function::name>},
  {"arguments", "string", &read_arguments},
};

struct tool_call {
  std::string id;
  std::string type = "function";
  called_function function;
};

expected<void> read_call_type(const place& at, tool_call& to) {
  if (auto read = read_into(at, to.type); !read)
    return read;
  if (to.type != "function")
    return wrong_value(at, "only functions can be called");
  return {};
}

constexpr field_rule<tool_call> tool_call_rules[] = {
  {"id", "string", &read_member<&tool_call::id>},
  {"type", "string", &read_call_type},
  {"function", "object",
   [](const place& at, tool_call& to) {
     return read_object<called_function>(at, called_function_rules, to.function);
   }},
  {"index", "integer", &read_ignored<std::uint32_t>},
};

struct message_fields {
  std::string role;
  std::optional<std::string> content, name, tool_call_id, reasoning;
  json tool_calls;
};

constexpr std::array<std::string_view, 5> roles = {"system", "user", "assistant", "tool", "developer"};

expected<void> read_role(const place& at, message_fields& to) {
  if (auto read = read_into(at, to.role); !read)
    return read;
  if (std::find(roles.begin(), roles.end(), to.role) == roles.end())
    return wrong_value(at, "must be system, developer, user, assistant or tool");
  if (to.role == "developer")
    to.role = "system";
  return {};
}

expected<void> read_tool_calls(const place& at, message_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of calls");
  auto list = json::array();
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    tool_call call;
    if (auto read = read_object<tool_call>(here, tool_call_rules, call); !read)
      return read;
    if (call.function.name.empty())
      return fail(errc::invalid_argument, fmt::format("Field '{}.function.name' is missing.", here.path));
    if (call.function.arguments.is_null())
      call.function.arguments = json::object();
    list.push_back(
      {{"id", std::move(call.id)},
       {"type", "function"},
       {"function", {{"name", std::move(call.function.name)}, {"arguments", std::move(call.function.arguments)}}}});
  }
  if (!list.empty())
    to.tool_calls = std::move(list);
  return {};
}

constexpr field_rule<message_fields> message_rules[] = {
  {"role", "string", &read_role},
  {"content", "string or list of parts of text",
   [](const place& at, message_fields& to) { return read_text_content(at, to.content.emplace()); }},
  {"name", "string", &read_member<&message_fields::name>, "for templates that know it"},
  {"tool_calls", "list of calls", &read_tool_calls, "of an assistant"},
  {"tool_call_id", "string", &read_member<&message_fields::tool_call_id>, "of a tool"},
  {"reasoning_content", "string", &read_member<&message_fields::reasoning>, "for templates that know it"},
  {"reasoning", "string", &read_member<&message_fields::reasoning>, "the same"},
  {"annotations", "list",
   [](const place& at, message_fields&) -> expected<void> {
     if (!at.value.is_array() || !at.value.empty())
       return refused_field(at.path, "text is taken as it stands");
     return {};
   }},
  {"refusal", "string", nullptr, "models refuse in their own words"},
  {"audio", "object", nullptr, "there is text alone"},
  {"function_call", "object", nullptr, "it is out of date: use tool_calls"},
};

/// What goes with what.
expected<void> check_message(std::string_view path, const message_fields& message) {
  const auto refuse = [&](std::string_view field, std::string_view what) {
    return fail(errc::invalid_argument, fmt::format("Field '{}.{}' {}.", path, field, what));
  };
  if (message.role.empty())
    return refuse("role", "is missing");
  if (!message.content && message.tool_calls.is_null())
    return refuse("content", "is missing");
  if (!message.tool_calls.is_null() && message.role != "assistant")
    return refuse("tool_calls", "goes with the role assistant alone");
  if (message.reasoning && message.role != "assistant")
    return refuse("reasoning_content", "goes with the role assistant alone");
  if (message.tool_call_id && message.role != "tool")
    return refuse("tool_call_id", "goes with the role tool alone");
  if (!message.tool_call_id && message.role == "tool")
    return refuse("tool_call_id", "is missing");
  return {};
}

json as_templates_know_it(message_fields&& message) {
  json result = {{"role", std::move(message.role)}, {"content", std::move(message.content).value_or("")}};
  if (!message.tool_calls.is_null())
    result["tool_calls"] = std::move(message.tool_calls);
  if (message.tool_call_id)
    result["tool_call_id"] = std::move(*message.tool_call_id);
  if (message.name)
    result["name"] = std::move(*message.name);
  if (message.reasoning)
    result["reasoning_content"] = std::move(*message.reasoning);
  return result;
}

} // namespace

expected<void> read_messages(const place& at, chat_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of messages");
  if (at.value.empty())
    return fail(errc::invalid_argument, fmt::format("Field '{}' is empty. Send at least one message.", at.path));
  if (at.value.size() > max_chat_messages)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} messages, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_chat_messages));
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    message_fields message;
    if (auto read = read_object<message_fields>(here, message_rules, message); !read)
      return read;
    if (auto ok = check_message(here.path, message); !ok)
      return ok;
    to.messages.push_back(as_templates_know_it(std::move(message)));
    to.plain = to.plain && to.messages.back().size() == 2;
  }
  return {};
}

} // namespace troupe::serve
