// Of which trace a request is a part: the header `traceparent`.
// Source: W3C Recommendation "Trace Context" (https://www.w3.org/TR/trace-context-1/), section 3.2.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace troupe {

/// Of version 00; a later version may add something behind a '-'.
inline constexpr std::size_t traceparent_bytes = 55;

/// Both views are into the text.
struct trace_parent {
  std::string_view trace_id;  ///< 32 hexadecimal digits, not all 0.
  std::string_view parent_id; ///< 16, of the span that has asked; not all 0.
};

/// Nothing where the text is not as the specification has it: then the caller has no trace.
std::optional<trace_parent> parse_traceparent(std::string_view text);

} // namespace troupe
