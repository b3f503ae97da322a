// The body of a request, and the way back.
#pragma once

#include <string>
#include <string_view>

#include "model/strict_json.hpp"

namespace troupe::serve {

using json = nlohmann::ordered_json;

/// Errors: malformed (no JSON object, a key twice), limit_exceeded (those of `json_limits`).
expected<json> parse_body(std::string_view text);

/// Without spaces; what is not UTF-8 becomes U+FFFD.
std::string to_text(const json& value);

} // namespace troupe::serve
