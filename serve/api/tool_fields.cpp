// The functions that a model may call, as the body of a chat lists them.
#include <algorithm>

#include "serve/api/chat_messages.hpp"
#include "serve/api/limits.hpp"

namespace troupe::serve {
namespace {

struct function_fields {
  std::string name;
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

expected<void> read_parameters(const place& at, function_fields&) {
  return at.value.is_object() ? expected<void>() : wrong_kind(at, "an object");
}

expected<void> read_strict(const place& at, function_fields&) {
  bool strict = false;
  if (auto read = read_into(at, strict); !read)
    return read;
  if (strict)
    return refused_field(at.path, "arguments are not guided yet");
  return {};
}

constexpr field_rule<function_fields> function_rules[] = {
  {"name", "string", &read_name},
  {"description", "string", &read_ignored<std::string>}, // It goes to the template with all the rest.
  {"parameters", "object", &read_parameters},
  {"strict", "boolean", &read_strict},
};

struct tool_fields {
  std::string type;
  function_fields function;
};

constexpr field_rule<tool_fields> tool_rules[] = {
  {"type", "string",
   [](const place& at, tool_fields& to) -> expected<void> {
     if (auto read = read_into(at, to.type); !read)
       return read;
     if (to.type != "function")
       return fail(errc::unsupported,
                   fmt::format("Field '{}' is {}, but only functions are supported.", at.path, in_quotes(to.type)));
     return {};
   }},
  {"function", "object",
   [](const place& at, tool_fields& to) { return read_object<function_fields>(at, function_rules, to.function); }},
  {"custom", "object", nullptr, "only functions can be called"},
};

} // namespace

expected<void> read_tools(const place& at, chat_fields& to) {
  if (!at.value.is_array())
    return wrong_kind(at, "a list of tools");
  if (at.value.size() > max_tools)
    return fail(errc::limit_exceeded, fmt::format("Field '{}' has {} tools, but at most {} are allowed.", at.path,
                                                  at.value.size(), max_tools));
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const auto here = at.item(i);
    tool_fields tool;
    if (auto read = read_object<tool_fields>(here, tool_rules, tool); !read)
      return read;
    if (tool.type.empty() || tool.function.name.empty())
      return fail(errc::invalid_argument,
                  fmt::format("Field '{}.{}' is missing.", here.path, tool.type.empty() ? "type" : "function.name"));
  }
  if (!at.value.empty())
    to.tools = at.value;
  return {};
}

} // namespace troupe::serve
