#include "actors/stage.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

stage_actor::behavior_type stage(stage_actor::pointer self, worker_actor worker) {
  explain_exceptions(self);
  self->link_to(worker);
  return {
    [=](step_atom step, const step_ptr& changes) { return self->delegate(worker, step, changes); },
    [=](info_atom info) { return self->delegate(worker, info); },
  };
}

} // namespace troupe
