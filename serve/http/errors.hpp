// Errors of the transport, in the shape that the client of a path expects.
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "serve/api/errors.hpp"

namespace troupe::serve {

/// Anthropic's shape for /v1/messages and what is below it, otherwise OpenAI's.
http_answer error_answer(std::string_view path, unsigned status, const error& failure);

/// The fields, whole lines, that say which request is answered: "X-Request-Id", and Anthropic's name for it where it is its API.
std::string id_fields(std::string_view path, std::string_view request_id);

/// The same in the body of an error, where the API's shape has a place for it.
void add_request_id(std::string_view path, std::string_view request_id, http_answer& answer);

/// What the log says of an exception: its type, and not its text, which may quote a prompt.
std::string type_of(const std::exception& thrown);

} // namespace troupe::serve
