// The functions that a model may call, as the bodies of the three APIs list them. Templates see them as chats have them.
#include <algorithm>

#include "serve/api/chat_messages.hpp"
#include "serve/api/limits.hpp"

namespace troupe::serve {
namespace {

struct function_fields {
  std::string name;
  std::optional<std::string> description;
  json parameters;
};

expected<void> read_name(const place& at, function_fields& to) {
  if (auto read = read_into(at, to.name); !read)
    return read;
  const bool plain = std::all_of(to.name.begin(), to.name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (to.name.empty() || to.name.size() > max_function_name_bytes || !plain)
    return wrong_value(at, fmt::format("must have 1 to {} letters, digits, '_' and '-'", max_function_name_bytes));
  return {};
}

expected<void> read_parameters(const place& at, function_fields& to) {
  if (!at.value.is_object())
    return wrong_kind(at, "an object");
  to.parameters = at.value;
  return {};
}

expected<void> read_cache_control(const place& at, function_fields&) {
  return at.value.is_object() ? expected<void>() : wrong_kind(at, "an object");
}

constexpr std::string_view not_guided = "arguments are not guided yet";
constexpr std::string_view by_the_model = "functions are called by the model alone";
constexpr std::string_view all_at_once = "all functions are shown at once";

constexpr field_rule<function_fields> function_rules[] = {
  {"name", kind::function_name, &read_name, "", is_needed},
  {"description", kind::text, &read_member<&function_fields::description>},
  {"parameters", kind::object, &read_parameters},
  {"strict", kind::only<false>, &read_only<false>, not_guided},
};

constexpr field_rule<function_fields> response_rules[] = {
  {"type", kind::word<"function">, &read_word<function_fields, "function">, "", is_needed},
  {"name", kind::function_name, &read_name, "", is_needed},
  {"description", kind::text, &read_member<&function_fields::description>},
  {"parameters", kind::object, &read_parameters},
  {"strict", kind::only<false>, &read_only<false>, not_guided},
  {"async", kind::boolean, nullptr, "results are the client's"},
  {"allowed_callers", kind::list<kind::text>, nullptr, by_the_model},
  {"defer_loading", kind::boolean, nullptr, all_at_once},
  {"output_schema", kind::object, nullptr, "templates have no place for it"},
};

constexpr field_rule<function_fields> anthropic_rules[] = {
  {"type", kind::word<"custom">, &read_word<function_fields, "custom">},
  {"name", kind::function_name, &read_name, "", is_needed},
  {"description", kind::text, &read_member<&function_fields::description>},
  {"input_schema", kind::object, &read_parameters, "", is_needed},
  {"strict", kind::only<false>, &read_only<false>, not_guided},
  {"cache_control", kind::object, &read_cache_control, "prefixes are cached by themselves"},
  {"eager_input_streaming", kind::boolean, &read_ignored<bool>, "arguments are sent as they come"},
  {"allowed_callers", kind::list<kind::text>, nullptr, by_the_model},
  {"defer_loading", kind::boolean, nullptr, all_at_once},
  {"input_examples", kind::list<kind::object>, nullptr, "templates have no place for them"},
};

struct tool_fields {
  function_fields function;
};

constexpr field_rule<tool_fields> tool_rules[] = {
  {"type", kind::word<"function">, &read_word<tool_fields, "function">, "", is_needed},
  {"function", kind::members<function_rules>,
   [](const place& at, tool_fields& to) { return read_object<function_fields>(at, function_rules, to.function); }, "",
   is_needed},
  {"custom", kind::object, nullptr, "only functions can be called"},
};

json as_chats_have_it(function_fields&& function) {
  json inner = {{"name", std::move(function.name)}};
  if (function.description)
    inner["description"] = std::move(*function.description);
  inner["parameters"] = function.parameters.is_null() ? json({{"type", "object"}, {"properties", json::object()}})
                                                      : std::move(function.parameters);
  return {{"type", "function"}, {"function", std::move(inner)}};
}

/// `read` gives each tool as templates see it.
template <class Read>
expected<void> read_list(const place& at, chat_fields& to, Read read) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of tools");
  if (at.value.size() > max_tools)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} tools, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_tools));
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    expected<json> tool = read(at.item(i));
    if (!tool)
      return tl::unexpected(std::move(tool.error()));
    to.tools.push_back(std::move(*tool));
  }
  return {};
}

/// Tools whose members are those of their function, and a type.
template <const auto& Rules>
expected<void> read_flat_list(const place& at, chat_fields& to, std::string_view type) {
  return read_list(at, to, [&](const place& here) -> expected<json> {
    const auto given = here.value.is_object() ? here.value.value("type", json()) : json();
    if (given.is_string() && given != type) // Other kinds have other members.
      return refused_type(here, given.get_ref<const std::string&>(), "functions of the client are");
    function_fields function;
    if (auto read = read_object<function_fields>(here, Rules, function); !read)
      return tl::unexpected(std::move(read.error()));
    return as_chats_have_it(std::move(function));
  });
}

template <const auto& Rules>
json list_kind() {
  auto tool = kind::members<Rules>();
  tool["title"] = "function";
  return kind::list_of(std::move(tool), max_tools);
}

} // namespace

expected<void> read_tools(const place& at, chat_fields& to) {
  return read_list(at, to, [](const place& here) -> expected<json> {
    tool_fields tool;
    if (auto read = read_object<tool_fields>(here, tool_rules, tool); !read)
      return tl::unexpected(std::move(read.error()));
    return here.value; // With its members in the client's order, so that the prompt is the one that others render.
  });
}

expected<void> read_response_tools(const place& at, chat_fields& to) {
  return read_flat_list<response_rules>(at, to, "function");
}

expected<void> read_anthropic_tools(const place& at, chat_fields& to) {
  return read_flat_list<anthropic_rules>(at, to, "custom");
}

namespace kind {

json tool_list() {
  return list_kind<tool_rules>();
}

json response_tool_list() {
  return list_kind<response_rules>();
}

json anthropic_tool_list() {
  return list_kind<anthropic_rules>();
}

} // namespace kind

} // namespace troupe::serve
