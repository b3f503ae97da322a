#include "serve/http/response.hpp"

#include <ctime>

#include <fmt/format.h>

namespace troupe::serve {

namespace {

std::string_view reason_of(unsigned status) {
  switch (status) {
  case 200:
    return "OK";
  case 204:
    return "No Content";
  case 400:
    return "Bad Request";
  case 401:
    return "Unauthorized";
  case 403:
    return "Forbidden";
  case 404:
    return "Not Found";
  case 405:
    return "Method Not Allowed";
  case 408:
    return "Request Timeout";
  case 413:
    return "Content Too Large";
  case 414:
    return "URI Too Long";
  case 415:
    return "Unsupported Media Type";
  case 417:
    return "Expectation Failed";
  case 422:
    return "Unprocessable Content";
  case 429:
    return "Too Many Requests";
  case 431:
    return "Request Header Fields Too Large";
  case 500:
    return "Internal Server Error";
  case 501:
    return "Not Implemented";
  case 503:
    return "Service Unavailable";
  default:
    return status < 300 ? "OK" : status < 500 ? "Error" : "Server Error";
  }
}

/// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string date_now() {
  const auto now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[40]; // No locale is set, so the names are English.
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

} // namespace

std::string to_string(const response_head& head) {
  auto text = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", head.status, reason_of(head.status), date_now());
  if (!head.content_type.empty())
    text += fmt::format("Content-Type: {}\r\n", head.content_type);
  if (head.length) {
    if (head.status != 204)
      text += fmt::format("Content-Length: {}\r\n", *head.length);
  } else {
    text += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"; // The second one is for nginx in front of us.
    if (head.http_1_1)
      text += "Transfer-Encoding: chunked\r\n";
  }
  if (head.retry_after_ms > 0)
    text += fmt::format("Retry-After: {}\r\n", whole_seconds(head.retry_after_ms));
  text += head.fields;
  text += head.keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return text;
}

std::uint32_t whole_seconds(std::uint32_t ms) {
  return ms / 1000 + (ms % 1000 > 0);
}

void append_chunk(std::string& to, std::string_view bytes) {
  if (bytes.empty())
    return;
  fmt::format_to(std::back_inserter(to), "{:x}\r\n", bytes.size());
  to.append(bytes).append("\r\n");
}

} // namespace troupe::serve
