#pragma once

#include <unordered_set>

#include "actors/interfaces.hpp"
#include "engine/admission.hpp"

namespace troupe {

struct router_state {
  router_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::unique_ptr<admission_control> open;
  std::vector<scheduler_actor> engines;
  std::unordered_set<caf::actor_id> owners; ///< Streams that have asked and not died: each is monitored once.
  std::vector<caf::typed_response_promise<expected<nothing>>> drained; ///< Who waits for the last request to end.
  static inline const char* name = "router";
};

/// Its decisions are in engine/admission.hpp.
router_actor::behavior_type router(router_actor::stateful_pointer<router_state> self, admission_limits limits,
                                   std::vector<scheduler_actor> engines);

} // namespace troupe
