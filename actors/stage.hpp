#pragma once

#include <memory>
#include <vector>

#include "actors/interfaces.hpp"
#include "comm/shared_memory.hpp"

namespace troupe {

struct stage_state {
  stage_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::vector<worker_info> infos; ///< Of several workers, once somebody has asked.
  static inline const char* name = "stage";
};

/// A pipeline stage of one worker or several, its tensor-parallel ranks; the death of one is its own. All ranks get every
/// step, and the first reports what becomes of it. group: what joins the ranks; it is aborted when the stage ends,
/// so that no worker waits for another in vain. Null where there is one worker.
stage_actor::behavior_type stage(stage_actor::stateful_pointer<stage_state> self, std::vector<worker_actor> workers,
                                 std::shared_ptr<shared_group> group);

} // namespace troupe
