#include "protocol/trace_context.hpp"

#include <algorithm>

namespace troupe {

namespace {

bool are_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool all_zero(std::string_view text) {
  return text.find_first_not_of('0') == text.npos;
}

} // namespace

std::optional<trace_parent> parse_traceparent(std::string_view text) {
  if (text.size() < traceparent_bytes || text[2] != '-' || text[35] != '-' || text[52] != '-')
    return std::nullopt;
  const auto version = text.substr(0, 2), flags = text.substr(53, 2);
  const trace_parent result{text.substr(3, 32), text.substr(36, 16)};
  if (!are_digits(version) || version == "ff" || !are_digits(flags) || !are_digits(result.trace_id) ||
      !are_digits(result.parent_id))
    return std::nullopt;
  if (text.size() > traceparent_bytes && (version == "00" || text[traceparent_bytes] != '-'))
    return std::nullopt;
  if (all_zero(result.trace_id) || all_zero(result.parent_id))
    return std::nullopt;
  return result;
}

} // namespace troupe
