#pragma once

#include <unordered_map>

#include "actors/interfaces.hpp"

namespace troupe {

struct scheduler_state {
  scheduler_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  /// A stream that has had sequences here, and what it is to be told.
  struct receiver {
    stream_actor stream;
    stream_events events;
    bool touched = false; ///< Has events that are not sent.
  };
  struct owner {
    sequence_id sequence = 0; ///< 0 once it has ended.
    std::uint32_t receiver = 0;
  };

  std::unique_ptr<planner> plan;
  kv_cache_actor blocks;
  executor_actor steps;
  std::uint32_t max_steps_in_flight = 1;
  std::unordered_map<caf::actor_id, std::uint32_t> streams; ///< Index in `receivers`.
  std::vector<receiver> receivers;
  std::vector<std::uint32_t> free_receivers, touched;
  std::vector<owner> owners; ///< By the planner's slot.
  std::optional<error> failed;
  engine_watcher_actor watcher;             ///< Invalid: nobody chooses among engines.
  engine_index engine = 0;                  ///< As it knows this one.
  std::optional<std::uint32_t> free_blocks; ///< Of the group that has the fewest, as of the last grant.
  static inline const char* name = "scheduler";
};

/// The scheduler of one engine. Its decisions are in engine/planner.hpp; it tells the executor and the manager that it
/// is there.
scheduler_actor::behavior_type scheduler(scheduler_actor::stateful_pointer<scheduler_state> self,
                                         planner_options options, kv_cache_actor blocks, executor_actor steps,
                                         std::uint32_t max_steps_in_flight);

} // namespace troupe
