// A parsed template that renders any variables, not just messages: what chat_template is made of, and what tools,
// documents and tool calls go through.
//
// Immutable once parsed; `render` may be called from any thread, also at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/jinja/limits.hpp"
#include "model/jinja/syntax.hpp"
#include "model/text.hpp"
#include "protocol/error.hpp"

namespace troupe::jinja {

class program {
public:
  /// Errors: malformed (line, column, what was expected), unsupported (a block that chat templates cannot have),
  /// limit_exceeded.
  static expected<program> parse(std::string_view source, const limits& bounds = {});

  /// Renders with the members of the object `variables`. What comes out of them is untrusted, except for the strings
  /// of those named in `trusted`. `now`: seconds since the epoch, for strftime_now.
  /// Errors: invalid_argument (raise_exception's message; variables that are no object), malformed (with the line),
  /// unsupported (a filter or test that there is not), limit_exceeded, out_of_memory.
  expected<text_parts> render(const nlohmann::ordered_json& variables, const std::vector<std::string>& trusted,
                              std::int64_t now) const;

private:
  syntax_tree tree_;
  limits bounds_;
};

} // namespace troupe::jinja
