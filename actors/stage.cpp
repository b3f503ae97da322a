#include "actors/stage.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

stage_actor::behavior_type stage(stage_actor::pointer self, worker_actor worker) {
  explain_exceptions(self);
  self->link_to(worker);
  return {
    [=](step_atom step, const step_ptr& changes) { self->send(worker, step, changes); },
    [=](read_atom read, const std::vector<block_place>& places) { return self->delegate(worker, read, places); },
    [=](write_atom write, const block_contents& contents) { return self->delegate(worker, write, contents); },
    [=](info_atom info) { return self->delegate(worker, info); },
  };
}

} // namespace troupe
