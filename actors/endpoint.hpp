// What ZeroMQ does not check of an endpoint before it binds: it takes a port modulo 65536, and for an ipc endpoint it
// deletes whatever file is there, another server's too.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/error.hpp"

namespace troupe {

/// Whether a server may bind this, which was given with `option`. Errors: invalid_argument (a port that is none), io
/// (somebody listens there, or the file is no socket). The errors that ZeroMQ reports itself are left to it.
expected<void> check_endpoint(const std::string& endpoint, const std::string& option);

/// Whether nobody can connect to it but programs on this machine: a file, or an address of the loopback.
bool is_local(const std::string& endpoint);

/// Where the engine with this number has its own of what one engine has at `endpoint`: so many ports further, or in another
/// file. Number 0 has `endpoint` itself, and so has each that chooses a free port (*).
std::string endpoint_of_engine(const std::string& endpoint, std::uint32_t index);

struct given_endpoint {
  std::string endpoint, option;
};

/// Whether no engine's place of the one kind would be another's of the other. Errors: invalid_argument (where they meet, and
/// how far apart they must be).
expected<void> check_apart(const given_endpoint& one, const given_endpoint& other, std::uint32_t engines);

/// The file of "ipc://PATH", which ZeroMQ leaves behind; empty for every other endpoint.
std::string socket_file_of(const std::string& endpoint);

} // namespace troupe
