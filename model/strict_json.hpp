// JSON from strangers. Beside what bounded_json.hpp bounds: a key that stands twice in an object is refused, the number of
// values has a limit, and the time is about proportional to the bytes, whatever they are (an `ordered_json` that grows
// key by key compares each with all before it).
#pragma once

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

#include "protocol/error.hpp"

namespace troupe {

struct json_limits {
  std::size_t max_nesting = 64;       ///< Lists and objects in each other.
  std::size_t max_values = 1u << 20;  ///< Lists, objects, their keys, and strings.
  std::size_t max_numbers = 8u << 20; ///< Beside them, with true, false and null.
};

/// Errors: malformed (no JSON, with the byte; a key twice), limit_exceeded.
expected<nlohmann::ordered_json> parse_strict_json(std::string_view text, const json_limits& limits = {});

} // namespace troupe
