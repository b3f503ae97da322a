// JSON from strangers. Beside what model/bounded_json.hpp bounds: a key that stands twice in an object is refused, the
// number of values has a limit, and the time is about proportional to the bytes, whatever they are (an
// `ordered_json` that grows key by key compares each with all before it).
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "protocol/error.hpp"

namespace troupe::serve {

using json = nlohmann::ordered_json;

/// Errors: malformed (no JSON, with the byte; a key twice), limit_exceeded (limits.hpp).
expected<json> parse_json(std::string_view text);

/// The same, and it must be an object: the body of a request.
expected<json> parse_body(std::string_view text);

/// Without spaces; what is not UTF-8 becomes U+FFFD.
std::string to_text(const json& value);

} // namespace troupe::serve
