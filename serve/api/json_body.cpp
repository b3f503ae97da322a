#include "serve/api/json_body.hpp"

namespace troupe::serve {

expected<json> parse_body(std::string_view text) {
  auto body = parse_strict_json(text);
  if (body && !body->is_object())
    return fail(errc::malformed, "The body must be a JSON object.");
  return body;
}

std::string to_text(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace troupe::serve
