#pragma once

#include <memory>
#include <vector>

#include "actors/interfaces.hpp"
#include "comm/shared_memory.hpp"

namespace troupe {

/// A pipeline stage of one worker or several, its tensor-parallel ranks; the death of one is its own. All ranks get every
/// step, and the first reports what becomes of it. group: what joins the ranks; it is aborted when the stage ends,
/// so that no worker waits for another in vain. Null where there is one worker.
stage_actor::behavior_type stage(stage_actor::pointer self, std::vector<worker_actor> workers,
                                 std::shared_ptr<shared_group> group);

} // namespace troupe
