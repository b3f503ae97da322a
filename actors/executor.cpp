#include "actors/executor.hpp"

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

using self_pointer = executor_actor::stateful_pointer<executor_state>;

void give_up(self_pointer self, error reason) {
  auto& state = self->state;
  if (state.failed)
    return;
  state.failed = reason;
  for (auto& promise : std::exchange(state.waiting_for_info, {}))
    promise.deliver(expected<worker_info>(tl::unexpected(reason)));
  if (state.scheduler)
    self->send(state.scheduler, fail_atom::value, std::move(reason));
}

/// Once for each epoch: a dead stage is noticed by its monitor and by every request that it leaves unanswered.
void replace_stage(self_pointer self, std::uint64_t epoch, const std::string& why) {
  auto& state = self->state;
  if (epoch != state.epoch || state.failed || !state.stage)
    return;
  ++state.epoch;
  self->send_exit(state.stage, caf::exit_reason::kill); // It may only be late: nothing of the old epoch may live on.
  state.stage = nullptr;
  self->send(state.supervisor, replace_atom::value, why);
}

void ask_info(self_pointer self) {
  auto& state = self->state;
  const auto epoch = state.epoch;
  ask<expected<worker_info>>(
    self, state.stage, timeouts::step,
    [=](expected<worker_info>& info) {
      if (!info)
        return give_up(self, std::move(info.error()));
      for (auto& promise : std::exchange(self->state.waiting_for_info, {}))
        promise.deliver(info);
    },
    [=](const caf::error& reason) { replace_stage(self, epoch, caf::to_string(reason)); }, info_atom::value);
}

} // namespace

executor_actor::behavior_type executor(self_pointer self, supervisor_actor supervisor) {
  explain_exceptions(self);
  self->state.supervisor = std::move(supervisor);
  self->set_down_handler([=](const caf::down_msg& down) {
    if (self->state.stage && self->state.stage.address() == down.source)
      replace_stage(self, self->state.epoch, caf::to_string(down.reason));
  });
  return {
    [=](attach_atom, const scheduler_actor& scheduler) {
      auto& state = self->state;
      state.scheduler = scheduler;
      self->link_to(scheduler); // Neither can go on without the other.
      if (state.failed)
        self->send(scheduler, fail_atom::value, *state.failed);
      else if (state.epoch > 0)
        self->send(scheduler, reset_atom::value, state.epoch);
    },
    [=](replace_atom, const stage_actor& stage) {
      auto& state = self->state;
      state.stage = stage;
      self->monitor(stage);
      if (!state.waiting_for_info.empty())
        ask_info(self);
      if (state.epoch > 0 && state.scheduler)
        self->send(state.scheduler, reset_atom::value, state.epoch);
    },
    [=](fail_atom, error& reason) { give_up(self, std::move(reason)); },
    [=](step_atom, const step_ptr& step) {
      auto& state = self->state;
      if (!state.stage || state.failed || step->epoch != state.epoch)
        return; // The reset that follows a stage's death undoes it.
      const auto epoch = state.epoch;
      ask<expected<step_result>>(
        self, state.stage, timeouts::step,
        [=](expected<step_result>& result) {
          if (epoch != self->state.epoch)
            return;
          if (!result)
            return give_up(self, std::move(result.error()));
          ++self->state.steps;
          self->send(self->state.scheduler, result_atom::value, std::move(*result));
        },
        [=](const caf::error& reason) { replace_stage(self, epoch, caf::to_string(reason)); }, step_atom::value,
        step);
    },
    [=](info_atom) {
      auto& state = self->state;
      auto promise = self->make_response_promise<expected<worker_info>>();
      if (state.failed) {
        promise.deliver(expected<worker_info>(tl::unexpected(*state.failed)));
      } else {
        state.waiting_for_info.push_back(promise);
        if (state.stage && state.waiting_for_info.size() == 1)
          ask_info(self);
      }
      return promise;
    },
    [=](status_atom) -> caf::result<std::uint64_t, std::uint64_t> {
      return {self->state.steps, self->state.epoch};
    },
  };
}

} // namespace troupe
