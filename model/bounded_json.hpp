// JSON from others, with a limit on its nesting. The library copies values by recursion, in its parser too (an object of
// `ordered_json` grows by copying), so brackets without end would overflow the stack.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "protocol/error.hpp"

namespace troupe {

/// Errors: malformed (no JSON), limit_exceeded (more than `max_nesting` lists and objects in each other).
inline expected<nlohmann::ordered_json> parse_bounded_json(std::string_view text, std::size_t max_nesting) {
  using json = nlohmann::ordered_json;
  bool too_deep = false;
  auto value = json::parse(
    text,
    [&](int depth, json::parse_event_t event, const json&) {
      const bool begins = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
      too_deep = too_deep || (begins && static_cast<std::size_t>(depth) >= max_nesting);
      return !too_deep; // The rest is only looked through.
    },
    false);
  if (too_deep)
    return fail(errc::limit_exceeded, "The JSON is nested more than " + std::to_string(max_nesting) + " deep.");
  if (value.is_discarded())
    return fail(errc::malformed, "This is not JSON.");
  return value;
}

} // namespace troupe
