#include "serve/http/errors.hpp"

#include <typeinfo>

#include <boost/core/demangle.hpp>

#include <fmt/format.h>

namespace troupe::serve {

namespace {

bool is_anthropic(std::string_view path) {
  return path == "/v1/messages" || path.starts_with("/v1/messages/");
}

} // namespace

http_answer error_answer(std::string_view path, unsigned status, const error& failure) {
  return is_anthropic(path) ? anthropic_error(failure, status) : openai_error(failure, status);
}

std::string id_fields(std::string_view path, std::string_view request_id) {
  auto fields = fmt::format("X-Request-Id: {}\r\n", request_id);
  if (is_anthropic(path))
    fields += fmt::format("Request-Id: {}\r\n", request_id);
  return fields;
}

void add_request_id(std::string_view path, std::string_view request_id, http_answer& answer) {
  if (answer.status >= 400 && is_anthropic(path) &&
      answer.body.ends_with('}')) // An id has nothing that JSON would escape.
    answer.body.insert(answer.body.size() - 1, fmt::format(",\"request_id\":\"{}\"", request_id));
}

std::string type_of(const std::exception& thrown) {
  return boost::core::demangle(typeid(thrown).name());
}

} // namespace troupe::serve
