// An error of ours in the shapes that clients of the two APIs read. The HTTP status comes from its code, unless HTTP
// itself knows better (401, 404 of a route, 405, 413).
#pragma once

#include <cstdint>
#include <string>

#include "protocol/error.hpp"
#include "serve/api/call.hpp"

namespace troupe::serve {

/// 400, 404, 429, 499 (the client went away), 500 or 503.
unsigned http_status(errc code);

/// The field that a sentence of ours begins with ("Field 'messages[2].role' is ..."); empty where it names none.
std::string field_of(std::string_view message);

/// The same sentence, where it begins with field `from` ("stop[2]" for "stop"), with the name that it has elsewhere.
error rename_field(error failure, std::string_view from, std::string_view to);

/// {"error": {"message", "type", "param", "code"}}. `status` 0: that of the code.
http_answer openai_error(const error& failure, unsigned status = 0);

/// {"type": "error", "error": {"type", "message"}}
http_answer anthropic_error(const error& failure, unsigned status = 0);

} // namespace troupe::serve
