#include "serve/http/errors.hpp"

namespace troupe::serve {

http_answer error_answer(std::string_view path, unsigned status, const error& failure) {
  const bool anthropic = path == "/v1/messages" || path.starts_with("/v1/messages/");
  return anthropic ? anthropic_error(failure, status) : openai_error(failure, status);
}

} // namespace troupe::serve
