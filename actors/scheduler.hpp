#pragma once

#include <unordered_map>

#include "actors/interfaces.hpp"
#include "actors/watch_list.hpp"

namespace troupe {

struct scheduler_state {
  scheduler_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::unique_ptr<planner> plan;
  kv_cache_actor blocks;
  executor_actor steps;
  std::uint32_t max_steps_in_flight = 1; ///< As many as there are pipeline stages.
  std::unordered_map<sequence_id, stream_actor> streams;
  watch_list watched;
  std::optional<error> failed;
  static inline const char* name = "scheduler";
};

/// The scheduler of one engine. Its decisions are in engine/planner.hpp; it tells the executor that it is there.
scheduler_actor::behavior_type scheduler(scheduler_actor::stateful_pointer<scheduler_state> self,
                                         planner_options options, kv_cache_actor blocks, executor_actor steps,
                                         std::uint32_t stages);

} // namespace troupe
