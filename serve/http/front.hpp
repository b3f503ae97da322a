// The actor between the engine and the thread of the sockets, and what that thread uses to talk to the engine.
//
// Its few streams carry the requests of all connections, so that a step brings a few deliveries however many clients there
// are; each is passed to the thread of the sockets as it comes. It ends with the supervisor, or with the last handle of the
// link. A stream that dies is replaced; its requests are told.
#pragma once

#include <memory>

#include "actors/interfaces.hpp"
#include "serve/http/engine_link.hpp"

namespace troupe::serve {

inline constexpr std::uint32_t front_streams = 4;

/// Errors: unavailable (the engine is stopping).
expected<std::shared_ptr<engine_link>> spawn_front(caf::actor_system& system, supervisor_actor supervisor,
                                                   engine_door door);

} // namespace troupe::serve
