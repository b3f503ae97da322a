// The bytes of a response, without its sockets.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "serve/api/call.hpp"

namespace troupe::serve {

struct response_head {
  unsigned status = 200;
  std::string_view content_type;
  std::optional<std::size_t> length; ///< Nothing: a stream.
  bool http_1_1 = true;              ///< Then a stream is chunked; otherwise it ends with the connection.
  bool keep_alive = true;
  std::uint32_t retry_after_ms = 0;
  std::string_view fields; ///< Others, whole lines.
};

/// Status line and fields, with the empty line behind them.
std::string to_string(const response_head& head);

/// Over 0: in whole seconds, rounded up, as Retry-After has it.
std::uint32_t whole_seconds(std::uint32_t ms);

/// `bytes` as one chunk; nothing if they are empty, since that would be the end.
void append_chunk(std::string& to, std::string_view bytes);
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

} // namespace troupe::serve
