// The ZeroMQ front: a ROUTER socket on one side, streams on the other. docs/protocol.md is what it speaks.
//
// Owner of: the socket, and which connection has which stream. It runs in a thread of its own, which sleeps in
// `zmq_poll` until a frame or a message of an actor comes (a message pokes an eventfd).
#pragma once

#include <string>

#include "actors/interfaces.hpp"
#include "actors/zmq_access.hpp"
#include "protocol/log.hpp"

namespace troupe {

struct gateway_options {
  std::string endpoint;    ///< "tcp://127.0.0.1:5555", "ipc:///path"; a port of * takes a free one.
  std::string server_name; ///< In the welcome.
  std::string model_name;
  std::uint32_t context_length = 0;
  std::uint32_t max_connections = 4096;
  bool takes_commands = false;  ///< An operator's, from whoever can connect.
  std::string option = "--zmq"; ///< What the endpoint was given with: errors name it.
  zmq_access access;
  logger log;
};

/// A gateway that has bound its socket.
struct running_gateway {
  client_actor actor;
  std::string endpoint; ///< Where it listens, with the port that was chosen.
};

/// Binds and spawns. It ends with its supervisor, or on an exit message. Errors: io (the endpoint is taken or wrong),
/// invalid_argument (see `check_access`).
expected<running_gateway> spawn_gateway(caf::actor_system& system, supervisor_actor supervisor,
                                        gateway_options options);

} // namespace troupe
