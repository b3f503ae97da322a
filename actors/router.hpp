#pragma once

#include <unordered_map>

#include "actors/interfaces.hpp"
#include "actors/watch_list.hpp"

namespace troupe {

struct router_limits {
  std::uint32_t max_open_requests = 4096;    ///< Admitted and not ended, all engines together.
  std::uint64_t max_open_tokens = 64u << 20; ///< Of their prompts, estimated until they are tokenized.
};

struct router_state {
  router_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  struct engine {
    scheduler_actor scheduler;
    std::uint32_t open = 0; ///< Requests placed there and not ended.
  };
  struct request {
    std::uint32_t tokens = 0;
    std::optional<std::size_t> engine;
    caf::actor_addr owner; ///< The stream that asked; when it dies, its tickets are void.
  };

  router_limits limits;
  std::vector<engine> engines;
  std::unordered_map<sequence_id, request> open;
  watch_list watched;
  std::uint64_t open_tokens = 0;
  sequence_id last_id = 0;
  std::uint64_t refused = 0;
  static inline const char* name = "router";
};

router_actor::behavior_type router(router_actor::stateful_pointer<router_state> self, router_limits limits,
                                   std::vector<scheduler_actor> engines);

} // namespace troupe
