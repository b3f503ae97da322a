// Errors of the transport, in the shape that the client of a path expects.
#pragma once

#include <string>
#include <string_view>

#include "serve/api/errors.hpp"

namespace troupe::serve {

/// Anthropic's shape for /v1/messages and what is below it, otherwise OpenAI's.
http_answer error_answer(std::string_view path, unsigned status, const error& failure);

} // namespace troupe::serve
