#pragma once

#include <map>
#include <memory>

#include "actors/process/interfaces.hpp"

namespace troupe {

struct door_state {
  door_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::map<std::string, caf::strong_actor_ptr> expected; ///< By token.
  static inline const char* name = "door";
};

/// version: of the processes that it lets in.
worker_door_actor::behavior_type door(worker_door_actor::stateful_pointer<door_state> self, std::string version);

/// A door that is open: its actor, and where a process finds it.
struct open_door {
  worker_door_actor actor;
  caf::actor middleman; ///< To be ended with it.
  std::string socket;
  std::uint16_t port = 0;
};

/// Waits until it is open: not for an actor that shares its thread. Errors: unavailable (the actor system was not
/// configured for processes, or there are no sockets).
expected<open_door> open_worker_door(caf::actor_system& system);

/// Nobody can connect any more, and its actors end. Those that have come in stay.
void close_worker_door(const open_door& door);

} // namespace troupe
