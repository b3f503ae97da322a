#include "actors/stage.hpp"

#include "actors/exceptions.hpp"
#include "actors/gather.hpp"

namespace troupe {

stage_actor::behavior_type stage(stage_actor::stateful_pointer<stage_state> self, std::vector<worker_actor> workers,
                                 std::shared_ptr<shared_group> group) {
  explain_exceptions(self);
  forget_timeouts_at_the_end(self);
  for (const auto& worker : workers)
    self->link_to(worker);
  if (group)
    self->attach_functor([group] { group->abort(); });
  const auto tell_all = [self, workers](auto... what) {
    for (const auto& worker : workers)
      self->send(worker, what...);
  };
  return {
    [=](rows_atom rows, std::uint64_t epoch, std::uint64_t step) { tell_all(rows, epoch, step); },
    [=](sampled_atom sampled, const step_tokens& tokens) { tell_all(sampled, tokens); },
    [=](step_atom step, const step_ptr& changes) { tell_all(step, changes); },
    [=](read_atom read, const std::vector<block_place>& places) -> caf::result<expected<block_contents>> {
      if (workers.size() == 1)
        return self->delegate(workers.front(), read, places);
      auto promise = self->make_response_promise<expected<block_contents>>();
      gather_blocks(self, workers, places, promise);
      return promise;
    },
    [=](write_atom write, const block_contents& contents) -> caf::result<expected<nothing>> {
      if (workers.size() == 1)
        return self->delegate(workers.front(), write, contents);
      auto promise = self->make_response_promise<expected<nothing>>();
      scatter_blocks(self, workers, self->state.infos, contents, promise);
      return promise;
    },
    [=](info_atom info) -> caf::result<expected<worker_info>> {
      if (workers.size() == 1)
        return self->delegate(workers.front(), info);
      auto promise = self->make_response_promise<expected<worker_info>>();
      gather_info(
        self, workers,
        [=](expected<std::vector<worker_info>>& infos) mutable {
          if (infos)
            self->state.infos = *infos;
          promise.deliver(sum_of(infos));
        },
        [=](const caf::error& reason) mutable { promise.deliver(reason); }); // A death: a new epoch comes.
      return promise;
    },
  };
}

} // namespace troupe
