#pragma once

#include <vector>

#include "actors/interfaces.hpp"
#include "serve/observe/actor_row.hpp"

namespace troupe::serve {

/// The tree with what each actor has done so far (actors/activity.hpp). An actor whose place nobody knows (a stream, the
/// front) is under the supervisor.
std::vector<actor_row> actor_rows(caf::actor_system& system, const supervisor_actor& supervisor,
                                  const actor_tree& tree);

} // namespace troupe::serve
