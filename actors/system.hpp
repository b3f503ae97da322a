// What Troupe needs of a CAF actor system.
#pragma once

#include <caf/all.hpp>

#include "actors/supervisor.hpp"

namespace troupe {

/// CAF's default scheduler polls with sleeps, which costs 100 microseconds a hop and an idle CPU, and `sharing` wakes a
/// thread for each message; here it is actors/pool.hpp. CAF's default lets one busy actor hold up the others without
/// end. A program with a system of its own calls this on its configuration before it makes the system.
void configure(caf::actor_system_config& config);

/// The root of the tree. It ends with `normal` after `stop_atom`, and with the reason if a part of the tree has died.
supervisor_actor spawn_engine(caf::actor_system& system, engine_options options);

} // namespace troupe
