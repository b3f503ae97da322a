// Who may connect to our ZeroMQ sockets: whoever can reach them, or whoever has a key (CURVE, which encrypts, too).
// Source: ZeroMQ RFC 26 (CurveZMQ); keys as text are RFC 32's Z85.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"

namespace troupe {

inline constexpr std::size_t curve_key_characters = 40; ///< Of 32 bytes, as Z85.

struct zmq_access {
  std::string secret_key; ///< The server's, as Z85; empty: clients need no key, and nothing is encrypted.
  std::vector<std::string> client_keys; ///< Public keys of those who may connect, as Z85.
  bool open = false;                    ///< Other machines may connect without keys.

  bool has_keys() const { return !secret_key.empty(); }
};

/// Whether the text is a key by its form.
bool is_curve_key(std::string_view text);

/// Whether a socket may listen there, which was given with `option`. Errors: invalid_argument (other machines could
/// connect, and nobody said that they may).
expected<void> check_access(const zmq_access& access, const std::string& endpoint, const std::string& option);

} // namespace troupe
