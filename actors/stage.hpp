#pragma once

#include "actors/interfaces.hpp"

namespace troupe {

/// A pipeline stage of one worker, whose death is its own. With one worker all it does is to stand where
/// tensor-parallel groups and the next stage will be.
stage_actor::behavior_type stage(stage_actor::pointer self, worker_actor worker);

} // namespace troupe
