#include "serve/api/errors.hpp"

#include "serve/api/json_body.hpp"

namespace troupe::serve {
namespace {

std::string_view openai_type(unsigned status) {
  switch (status) {
  case 401:
    return "authentication_error";
  case 403:
    return "permission_error";
  case 404:
    return "not_found_error";
  case 429:
    return "rate_limit_error";
  default:
    return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

/// OpenAI's names where it has one for the case; otherwise ours.
std::string_view openai_code(errc code, unsigned status, std::string_view param) {
  if (status == 401)
    return "invalid_api_key";
  switch (code) {
  case errc::context_overflow:
    return "context_length_exceeded";
  case errc::not_found:
    return param == "model" ? "model_not_found" : "not_found";
  case errc::queue_full:
    return "rate_limit_exceeded";
  case errc::unknown_field:
    return "unknown_parameter";
  case errc::unsupported:
    return "unsupported_parameter";
  case errc::invalid_argument:
    return "invalid_value";
  default:
    return to_string(code);
  }
}

std::string_view anthropic_type(unsigned status) {
  switch (status) {
  case 401:
    return "authentication_error";
  case 403:
    return "permission_error";
  case 404:
    return "not_found_error";
  case 413:
    return "request_too_large";
  case 429:
    return "rate_limit_error";
  case 503:
    return "overloaded_error";
  default:
    return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

http_answer answer_of(const error& failure, unsigned status, const json& body) {
  http_answer answer;
  answer.status = status;
  answer.body = to_text(body);
  answer.retry_after_ms = failure.retry_after_ms;
  if (status == 429 && answer.retry_after_ms == 0)
    answer.retry_after_ms = 1000;
  return answer;
}

} // namespace

unsigned http_status(errc code) {
  switch (code) {
  case errc::none:
    return 200;
  case errc::invalid_argument:
  case errc::unknown_field:
  case errc::context_overflow:
  case errc::malformed:
  case errc::limit_exceeded:
  case errc::version_mismatch:
  case errc::unsupported:
    return 400;
  case errc::not_found:
    return 404;
  case errc::queue_full:
    return 429;
  case errc::cancelled:
    return 499;
  case errc::unavailable:
  case errc::out_of_memory:
    return 503;
  case errc::io:
  case errc::internal:
    return 500;
  }
  return 500;
}

std::string field_of(std::string_view message) {
  constexpr std::string_view opening = "Field '";
  if (!message.starts_with(opening))
    return {};
  const auto name = message.substr(opening.size());
  return std::string(name.substr(0, name.find('\'')));
}

error rename_field(error failure, std::string_view from, std::string_view to) {
  const auto name = field_of(failure.message);
  if (name.substr(0, name.find_first_of("[.")) == from)
    failure.message.replace(std::string_view("Field '").size(), from.size(), to);
  return failure;
}

http_answer openai_error(const error& failure, unsigned status) {
  status = status ? status : http_status(failure.code);
  const auto param = field_of(failure.message);
  return answer_of(failure, status,
                   {{"error",
                     {{"message", failure.message},
                      {"type", openai_type(status)},
                      {"param", param.empty() ? json(nullptr) : json(param)},
                      {"code", openai_code(failure.code, status, param)}}}});
}

http_answer anthropic_error(const error& failure, unsigned status) {
  status = status ? status : http_status(failure.code);
  return answer_of(failure, status,
                   {{"type", "error"}, {"error", {{"type", anthropic_type(status)}, {"message", failure.message}}}});
}

} // namespace troupe::serve
