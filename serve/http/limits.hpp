// Every limit of the HTTP transport: name, unit and default in one place. docs/http.md repeats them for operators.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::serve {

struct http_limits {
  // Of one request.
  std::size_t max_body_bytes = 32u << 20;       ///< 413 beyond.
  std::size_t max_unread_body_bytes = 8u << 10; ///< Of a GET, 413 beyond, and of what is refused: closed beyond.
  std::uint32_t max_header_bytes = 64u << 10;   ///< Request line and fields; 431 beyond.
  std::uint32_t max_header_fields = 128;        ///< 431 beyond.
  std::uint32_t max_target_bytes = 8u << 10;    ///< 414 beyond.

  // Of one connection.
  std::size_t max_pipelined_bytes = 64u << 10; ///< That come while a request is being answered; cut beyond.
  std::size_t max_unsent_bytes = 1u << 20;     ///< Kept for a client that does not read; then its requests pause.
  int socket_send_bytes = 128 << 10;           ///< What the kernel may keep for it beside that, about.

  // Of the server.
  std::uint32_t max_connections = 4096;      ///< One more is told 503 and closed.
  std::uint32_t max_calls = 4096;            ///< HTTP requests that wait for the engine; one more gets 429.
  std::size_t max_bodies_bytes = 512u << 20; ///< Of all bodies that are being received; one more gets 503.

  std::size_t max_logged_path_bytes = 256; ///< Of a request's path, in the log.

  // Milliseconds.
  std::uint32_t handshake_ms = 10000;  ///< Of TLS.
  std::uint32_t header_ms = 10000;     ///< From a request's first byte to the end of its header; then 408.
  std::uint32_t body_ms = 120000;      ///< From there to the end of its body; then 408.
  std::uint32_t idle_ms = 75000;       ///< Without a request; then the connection is closed.
  std::uint32_t stalled_ms = 60000;    ///< A client that has taken nothing for so long is cut.
  std::uint32_t linger_ms = 2000;      ///< For what a client still sends when it has been refused.
  std::uint32_t status_ms = 1000;      ///< What a probe waits for the engine; then 503.
  std::uint32_t stuck_step_ms = 30000; ///< A step that takes longer makes /health say 503.

  std::size_t inline_body_bytes =
    64u << 10; ///< Larger bodies are read by a thread of their own, not by that of the sockets.
};

} // namespace troupe::serve
