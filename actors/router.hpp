#pragma once

#include <optional>
#include <unordered_set>

#include "actors/interfaces.hpp"
#include "engine/admission.hpp"
#include "engine/routing.hpp"

namespace troupe {

struct router_options {
  router_options(admission_limits limits, routing_options routing = {})
      : limits(limits), routing(std::move(routing)) {}

  admission_limits limits;
  routing_options routing; ///< Its hash and fingerprint are those of the engines' KV stores.
};

struct router_state {
  router_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::unique_ptr<admission_control> open;
  std::optional<routing> routes;
  std::vector<scheduler_actor> engines;     ///< By their numbers; one that is down may have died.
  std::unordered_set<caf::actor_id> owners; ///< Streams that have asked and not died: each is monitored once.
  std::vector<caf::typed_response_promise<expected<nothing>>> drained; ///< Who waits for the last request to end.
  static inline const char* name = "router";
};

/// Its decisions are in engine/admission.hpp and engine/routing.hpp. Where there are several engines, it has them watched:
/// their KV stores' events must be on.
router_actor::behavior_type router(router_actor::stateful_pointer<router_state> self, router_options options,
                                   std::vector<scheduler_actor> engines);

} // namespace troupe
