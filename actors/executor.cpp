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
  state.in_flight.clear();
  for (auto& promise : std::exchange(state.waiting_for_info, {}))
    promise.deliver(expected<worker_info>(tl::unexpected(reason)));
  if (state.scheduler)
    self->send(state.scheduler, fail_atom::value, reason);
  self->send(state.supervisor, fail_atom::value, std::move(reason));
}

/// Once for each epoch: a dead stage is noticed by its monitor and by every request that it leaves unanswered.
void replace_stage(self_pointer self, std::uint64_t epoch, const std::string& why) {
  auto& state = self->state;
  if (epoch != state.epoch || state.failed || !state.stage)
    return;
  ++state.epoch;
  state.in_flight.clear();
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

/// One alarm for all steps: a time-out for each would be set and cancelled thousands of times a second.
void set_alarm(self_pointer self) {
  if (!std::exchange(self->state.alarm_set, true))
    self->delayed_send(self, timeouts::alarm, alarm_atom::value);
}

void run(self_pointer self, const step_ptr& step) {
  auto& state = self->state;
  if (!state.stage || state.failed || step->epoch != state.epoch)
    return; // The reset that follows a stage's death undoes it.
  state.in_flight.push_back({step->step, self->clock().now()});
  set_alarm(self);
  self->send(state.stage, step_atom::value, step);
}

void take(self_pointer self, std::uint64_t epoch, step_outcome& outcome) {
  auto& state = self->state;
  if (epoch != state.epoch || state.failed)
    return;
  if (!outcome)
    return give_up(self, std::move(outcome.error()));
  if (state.in_flight.empty() || outcome->step != state.in_flight.front().step)
    return; // It came twice.
  state.in_flight.pop_front();
  ++state.steps;
  self->send(state.scheduler, result_atom::value, std::move(*outcome));
}

void look_for_late_steps(self_pointer self) {
  auto& state = self->state;
  state.alarm_set = false;
  if (state.in_flight.empty())
    return;
  if (self->clock().now() - state.in_flight.front().sent > timeouts::step)
    return replace_stage(self, state.epoch, "a step has taken longer than any step may");
  set_alarm(self);
}

/// Blocks go to and come from the device in order with steps, so the stage does it; but only in their own epoch.
template <class Answer, class Atom, class What>
caf::result<expected<Answer>> pass_blocks(self_pointer self, Atom atom, std::uint64_t epoch, const What& what) {
  const auto& state = self->state;
  if (state.failed)
    return expected<Answer>(tl::unexpected(*state.failed));
  if (!state.stage || epoch != state.epoch)
    return expected<Answer>(fail(errc::unavailable, "The worker whose blocks these were is gone, and they with it."));
  return self->delegate(state.stage, atom, what);
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
    [=](step_atom, const step_ptr& step) { run(self, step); },
    [=](result_atom, std::uint64_t epoch, step_outcome& outcome) { take(self, epoch, outcome); },
    [=](read_atom atom, std::uint64_t epoch, const std::vector<block_place>& places) {
      return pass_blocks<block_contents>(self, atom, epoch, places);
    },
    [=](write_atom atom, std::uint64_t epoch, const block_contents& contents) {
      return pass_blocks<nothing>(self, atom, epoch, contents);
    },
    [=](alarm_atom) { look_for_late_steps(self); },
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
    [=](status_atom) {
      const auto& state = self->state;
      return executor_status{state.steps, state.epoch, state.failed};
    },
  };
}

} // namespace troupe
