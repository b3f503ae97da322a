// What the tests of the template interpreter share.
#pragma once

#include <string>
#include <string_view>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "model/jinja/program.hpp"

namespace troupe {

inline std::ostream& boost_test_print_type(std::ostream& out, errc code) { return out << to_string(code); }

} // namespace troupe

namespace troupe::test {

inline constexpr std::int64_t a_moment = 1'753'000'000; // 2025-07-20 08:26:40 UTC

inline expected<text_parts> render_parts(std::string_view source, const nlohmann::ordered_json& variables = {},
                                         const jinja::limits& bounds = {}) {
  auto program = jinja::program::parse(source, bounds);
  if (!program)
    return tl::unexpected(program.error());
  auto object = variables.is_null() ? nlohmann::ordered_json::object() : variables;
  return program->render(object, {"bos_token", "eos_token"}, a_moment);
}

inline std::string joined(const text_parts& parts) {
  std::string text;
  for (const text_part& part : parts)
    text += part.text;
  return text;
}

/// The text, or the error's sentence behind "error: ".
inline std::string render(std::string_view source, const nlohmann::ordered_json& variables = {},
                          const jinja::limits& bounds = {}) {
  auto parts = render_parts(source, variables, bounds);
  return parts ? joined(*parts) : "error: " + parts.error().message;
}

/// {{ expression }}
inline std::string evaluate(std::string_view expression, const nlohmann::ordered_json& variables = {}) {
  return render("{{ " + std::string(expression) + " }}", variables);
}

/// The parts as one text, with what is untrusted in braces.
inline std::string traced(std::string_view source, const nlohmann::ordered_json& variables) {
  auto parts = render_parts(source, variables);
  if (!parts)
    return "error: " + parts.error().message;
  std::string text;
  for (const text_part& part : *parts)
    text += part.trusted ? part.text : "{" + part.text + "}";
  return text;
}

inline errc code_of(std::string_view source, const nlohmann::ordered_json& variables = {},
                    const jinja::limits& bounds = {}) {
  auto parts = render_parts(source, variables, bounds);
  return parts ? errc::none : parts.error().code;
}

} // namespace troupe::test
