#include "serve/api/chat_messages.hpp"

#include "protocol/limits.hpp"

namespace troupe::serve {
namespace {

struct called_function {
  std::string name;
  json arguments = json::object();
};

expected<void> read_call_arguments(const place& at, called_function& to) {
  return read_arguments(at, to.arguments);
}

constexpr field_rule<called_function> called_function_rules[] = {
  {"name", kind::filled_text<any_length>, &read_filled<&called_function::name>, "", is_needed},
  {"arguments", kind::either<kind::json_text, kind::word<"">>, &read_call_arguments, "JSON, an object; empty: {}"},
};

struct tool_call {
  std::string id;
  called_function function;
};

constexpr field_rule<tool_call> tool_call_rules[] = {
  {"id", kind::text, &read_member<&tool_call::id>},
  {"type", kind::word<"function">, &read_word<tool_call, "function">},
  {"function", kind::members<called_function_rules>,
   [](const place& at, tool_call& to) {
     return read_object<called_function>(at, called_function_rules, to.function);
   },
   "", is_needed},
  {"index", kind::integer_from<0>, &read_ignored<std::uint32_t>},
};

struct chat_message_fields {
  std::string role;
  std::optional<std::string> content, name, tool_call_id, reasoning;
  json tool_calls;
};

expected<void> read_role(const place& at, chat_message_fields& to) {
  auto role = word_at<"system", "developer", "user", "assistant", "tool">(at);
  if (!role)
    return tl::unexpected(std::move(role.error()));
  to.role = *role == "developer" ? "system" : std::move(*role);
  return {};
}

expected<void> read_tool_calls(const place& at, chat_message_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of calls");
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    tool_call call;
    if (auto read = read_object<tool_call>(at.item(i), tool_call_rules, call); !read)
      return read;
    to.tool_calls.push_back(
      call_json(std::move(call.id), std::move(call.function.name), std::move(call.function.arguments)));
  }
  return {};
}

constexpr field_rule<chat_message_fields> chat_message_rules[] = {
  {"role", kind::word<"system", "developer", "user", "assistant", "tool">, &read_role, "", is_needed},
  {"content", kind::text_content<>,
   [](const place& at, chat_message_fields& to) { return read_text_content(at, to.content.emplace()); }},
  {"name", kind::text, &read_member<&chat_message_fields::name>, "for templates that know it"},
  {"tool_calls", kind::list<kind::members<tool_call_rules>>, &read_tool_calls, "of an assistant"},
  {"tool_call_id", kind::text, &read_member<&chat_message_fields::tool_call_id>, "of a tool"},
  {"reasoning_content", kind::text, &read_member<&chat_message_fields::reasoning>, "for templates that know it"},
  {"reasoning", kind::text, &read_member<&chat_message_fields::reasoning>, "the same"},
  {"annotations", kind::list<kind::anything, 0>,
   [](const place& at, chat_message_fields&) -> expected<void> {
     if (!at.value.is_array() || !at.value.empty())
       return refused_field(at.path, "text is taken as it stands");
     return {};
   }},
  {"refusal", kind::text, nullptr, "models refuse in their own words"},
  {"audio", kind::object, nullptr, "there is text alone"},
  {"function_call", kind::object, nullptr, "it is out of date: use tool_calls"},
};

/// What goes with what.
expected<void> check_message(std::string_view path, const chat_message_fields& message) {
  const auto refuse = [&](std::string_view field, std::string_view what) {
    return fail(errc::invalid_argument, fmt::format("Field '{}.{}' {}.", path, field, what));
  };
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

json as_templates_know_it(chat_message_fields&& message) {
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

expected<void> check_count(const place& at, std::string_view things) {
  if (at.value.empty())
    return fail(errc::invalid_argument, fmt::format("Field '{}' is empty. Send at least one.", at.path));
  if (at.value.size() > max_chat_messages)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} {}, but at most {} are allowed.", at.path,
                                                  at.value.size(), things, max_chat_messages));
  return {};
}

void add_message(json message, chat_fields& to) {
  to.plain = to.plain && message.size() == 2;
  to.messages.push_back(std::move(message));
}

json call_json(std::string id, std::string name, json arguments) {
  return {{"id", std::move(id)},
          {"type", "function"},
          {"function", {{"name", std::move(name)}, {"arguments", std::move(arguments)}}}};
}

expected<void> read_arguments(const place& at, json& to) {
  std::string text;
  if (auto read = read_into(at, text); !read)
    return read;
  auto arguments = text.empty() ? expected<json>(json::object()) : parse_strict_json(text);
  if (!arguments)
    return fail(errc::invalid_argument,
                fmt::format("Field '{}' is no text of JSON: {}", at.path, arguments.error().message));
  if (!arguments->is_object())
    return fail(errc::invalid_argument, fmt::format("Field '{}' is JSON, but no object.", at.path));
  to = std::move(*arguments);
  return {};
}

expected<void> read_messages(const place& at, chat_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of messages");
  if (auto ok = check_count(at, "messages"); !ok)
    return ok;
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    chat_message_fields message;
    if (auto read = read_object<chat_message_fields>(here, chat_message_rules, message); !read)
      return read;
    if (auto ok = check_message(here.path, message); !ok)
      return ok;
    add_message(as_templates_know_it(std::move(message)), to);
  }
  return {};
}

json kind::message_list() {
  const auto all = members<chat_message_rules>();
  auto message = any_of(
    {variant_of(all, {{"content"},
                      {"tool_calls", "tool_call_id", "reasoning", "reasoning_content"},
                      "role",
                      word<"system", "developer", "user">()}),
     variant_of(all, {{"content"}, {"tool_call_id"}, "role", word<"assistant">()}),
     variant_of(all, {{"tool_calls"}, {"tool_call_id"}, "role", word<"assistant">()}),
     variant_of(
       all,
       {{"content", "tool_call_id"}, {"tool_calls", "reasoning", "reasoning_content"}, "role", word<"tool">()})});
  message["title"] = "message";
  return list_of(std::move(message), max_chat_messages, 1);
}

} // namespace troupe::serve
