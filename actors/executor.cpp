#include "actors/executor.hpp"

#include "actors/exceptions.hpp"
#include "actors/gather.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

using executor_pointer = executor_actor::stateful_pointer<executor_state>;

double milliseconds(std::chrono::duration<double, std::milli> time) {
  return time.count();
}

/// For people; CAF's own text where there is no better.
std::string sentence_of(const caf::error& reason) {
  const auto& context = reason.context();
  return context.match_elements<std::string>() ? context.get_as<std::string>(0) : caf::to_string(reason);
}

const error blocks_gone{errc::unavailable, "The worker whose blocks these were is gone, and they with it."};

/// A GPU's first step makes what later ones have: the group of its ranks, code of the vendor's libraries. It may take long, and teaches
/// nothing.
bool is_first_of_device(const executor_state& state) {
  return state.fresh && state.info && state.info->device.starts_with("cuda");
}

/// why: for those who wait for a transfer of blocks.
void drop_stages(executor_state& state, const error& why) {
  for (auto& [id, fail] : std::exchange(state.transfers, {}))
    fail(why);
  state.stages.clear();
  state.in_flight.clear();
  state.loaded = false;
  state.fresh = true;
  state.looks_late = false;
  state.infos.clear();
  state.info.reset();
}

void give_up(executor_pointer self, error reason) {
  auto& state = self->state;
  if (state.failed)
    return;
  state.failed = reason;
  for (const auto& stage : state.stages)
    self->send_exit(stage, caf::exit_reason::kill);
  drop_stages(state, reason);
  for (auto& promise : std::exchange(state.waiting_for_info, {}))
    promise.deliver(expected<worker_info>(tl::unexpected(reason)));
  if (state.scheduler)
    self->send(state.scheduler, fail_atom::value, reason);
  self->send(state.supervisor, fail_atom::value, state.engine, std::move(reason));
}

/// Once for each epoch: a dead stage is noticed by its monitor and by every request that it leaves unanswered.
void replace_stages(executor_pointer self, std::uint64_t epoch, const std::string& why) {
  auto& state = self->state;
  if (epoch != state.epoch || state.failed || state.stages.empty())
    return;
  ++state.epoch;
  state.lost_steps += state.in_flight.size();
  if (!state.lost_since)
    state.lost_since = self->clock().now();
  for (const auto& stage : state.stages) // They may only be late: nothing of the old epoch may live on.
    self->send_exit(stage, caf::exit_reason::kill);
  drop_stages(state, blocks_gone);
  self->send(state.supervisor, replace_atom::value, state.engine, why);
}

void answer_info(executor_state& state) {
  for (auto& promise : std::exchange(state.waiting_for_info, {}))
    promise.deliver(expected<worker_info>(*state.info));
}

/// The workers have their weights: from now on their steps have a time. They must compute as those before them did, or
/// tokens would depend on who died when.
void workers_are_ready(executor_pointer self, std::uint64_t epoch, const expected<std::vector<worker_info>>& infos) {
  auto& state = self->state;
  if (epoch != state.epoch || state.failed)
    return;
  auto info = sum_of(infos);
  if (!info)
    return give_up(self, std::move(info.error()));
  if (state.fingerprint.empty())
    state.fingerprint = info->fingerprint;
  if (info->fingerprint != state.fingerprint)
    return give_up(self, {errc::version_mismatch, "A worker computes as \"" + info->fingerprint +
                                                    "\", and those before it did as \"" + state.fingerprint + "\"."});
  state.loaded = true;
  state.front_since = self->clock().now();
  state.infos = *infos;
  state.info = std::move(*info);
  answer_info(state);
  if (const auto lost = std::exchange(state.lost_since, std::nullopt)) {
    state.last_recovery_ms = static_cast<std::uint64_t>(milliseconds(state.front_since - *lost));
    self->send(state.supervisor, up_atom::value, state.engine, state.last_recovery_ms);
  }
}

void use_stages(executor_pointer self, const std::vector<stage_actor>& stages) {
  auto& state = self->state;
  for (const auto& stage : state.stages)
    self->send_exit(stage, caf::exit_reason::kill);
  state.stages = stages;
  state.front_since = self->clock().now();
  const auto epoch = state.epoch;
  for (const auto& stage : stages)
    self->monitor(stage);
  gather_info(
    self, stages, [=](const expected<std::vector<worker_info>>& infos) { workers_are_ready(self, epoch, infos); },
    [=](const caf::error& reason) {
      if (reason != caf::sec::request_receiver_down) // Then its monitor is about to say why.
        replace_stages(self, epoch, sentence_of(reason));
    });
  if (epoch > 0 && state.scheduler)
    self->send(state.scheduler, reset_atom::value, epoch);
}

/// One alarm for all steps: a time-out for each would be set and cancelled thousands of times a second.
void set_alarm(executor_pointer self) {
  if (!std::exchange(self->state.alarm_set, true))
    self->delayed_send(self, timeouts::alarm, alarm_atom::value);
}

executor_state::step_in_flight counts_of(const step_changes& step) {
  executor_state::step_in_flight counts;
  counts.step = step.step;
  counts.sequences = static_cast<std::uint32_t>(step.rows.size());
  for (const auto& row : step.rows) // A row whose token the worker has sampled itself goes on with an answer.
    (row.holds_last ? counts.decode_tokens : counts.prefill_tokens) += row.count;
  return counts;
}

void observe(const executor_state& state, const executor_state::step_in_flight& step,
             executor_state::time_point now) {
  if (state.observed_by.empty())
    return;
  const step_record record{state.engine,       step.step,      state.epoch,       step.prefill_tokens,
                           step.decode_tokens, step.sequences, state.front_since, now};
  for (const auto& each : state.observed_by)
    each->ended(record);
}

void run(executor_pointer self, const step_ptr& step) {
  auto& state = self->state;
  if (state.stages.empty() || state.failed || step->epoch != state.epoch)
    return; // The reset that follows a stage's death undoes it.
  const auto now = self->clock().now();
  if (state.in_flight.empty() && state.loaded)
    state.front_since = now;
  state.in_flight.push_back(counts_of(*step));
  set_alarm(self);
  for (const auto& stage : state.stages)
    self->send(stage, step_atom::value, step);
}

/// A thread cannot be ended: it may say after all what nobody waits for any longer. So the step was late, and not hung.
void learn_from(executor_pointer self, std::uint64_t epoch, const step_outcome& outcome) {
  auto& state = self->state;
  const auto& late = state.given_up;
  if (!late || !outcome || epoch != late->epoch || outcome->step != late->what.step)
    return;
  state.deadline.took(milliseconds(self->clock().now() - late->since), late->what.rows());
  state.given_up.reset();
}

void take(executor_pointer self, std::uint64_t epoch, step_outcome& outcome) {
  auto& state = self->state;
  if (state.failed)
    return;
  if (epoch != state.epoch)
    return learn_from(self, epoch, outcome);
  if (!outcome)
    return give_up(self, std::move(outcome.error()));
  if (state.in_flight.empty() || outcome->step < state.in_flight.front().step)
    return; // It came twice.
  if (outcome->step > state.in_flight.front().step)
    return replace_stages(self, epoch, "the result of a step was left out");
  state.looks_late = false;
  const auto now = self->clock().now();
  if (state.loaded && !is_first_of_device(state))
    state.deadline.took(milliseconds(now - state.front_since), state.in_flight.front().rows());
  state.fresh = false;
  observe(state, state.in_flight.front(), now);
  state.front_since = now;
  state.in_flight.pop_front();
  ++state.steps;
  self->send(state.scheduler, result_atom::value, std::move(*outcome));
}

/// For the first of the steps in flight.
void give_up_waiting(executor_pointer self, double since_ms) {
  auto& state = self->state;
  if (!state.loaded)
    return replace_stages(self, state.epoch, "its weights were not loaded in time");
  state.deadline.gave_up();
  state.given_up = {state.epoch, state.in_flight.front(), state.front_since};
  replace_stages(self, state.epoch,
                 "a step has taken " + std::to_string(static_cast<long>(since_ms)) + " ms, and so long none may");
}

/// Loading has a time of its own.
void look_for_late_steps(executor_pointer self) {
  auto& state = self->state;
  state.alarm_set = false;
  if (state.in_flight.empty())
    return;
  const auto since = milliseconds(self->clock().now() - state.front_since);
  auto limit = milliseconds(timeouts::step);
  if (state.loaded)
    limit = std::max(state.deadline.limit_ms(state.in_flight.front().rows()),
                     is_first_of_device(state) ? milliseconds(timeouts::first_device_step) : 0.0);
  // Twice: when this process itself was held up, the result may lie behind this very message.
  if (since > limit && std::exchange(state.looks_late, true))
    return give_up_waiting(self, since);
  set_alarm(self);
}

/// A transfer of blocks, which whoever waits for is told of when the epoch ends: a worker that hangs would never say.
template <class Answer>
class transfer {
public:
  explicit transfer(executor_pointer self)
      : self_(self), id_(++self->state.last_transfer), promise_(self->make_response_promise<expected<Answer>>()) {
    self->state.transfers.emplace(id_, [promise = promise_](error why) mutable {
      promise.deliver(expected<Answer>(tl::unexpected(std::move(why))));
    });
  }
  template <class T>
  void deliver(T&& answer) {
    if (self_->state.transfers.erase(id_) > 0)
      promise_.deliver(std::forward<T>(answer));
  }
  caf::typed_response_promise<expected<Answer>> promise() const { return promise_; }

private:
  executor_pointer self_;
  std::uint64_t id_;
  caf::typed_response_promise<expected<Answer>> promise_;
};

/// Blocks go to and come from the device in order with steps, so the stages do it; but only in their own epoch.
template <class Answer, class Begin>
caf::result<expected<Answer>> pass_blocks(executor_pointer self, std::uint64_t epoch, Begin begin) {
  auto& state = self->state;
  if (state.failed)
    return expected<Answer>(tl::unexpected(*state.failed));
  if (state.stages.empty() || epoch != state.epoch)
    return expected<Answer>(tl::unexpected(blocks_gone));
  transfer<Answer> what(self);
  begin(what);
  return what.promise();
}

} // namespace

executor_state::~executor_state() {
  const error gone{errc::unavailable, "The engine has ended."};
  for (auto& promise : waiting_for_info)
    promise.deliver(expected<worker_info>(tl::unexpected(gone)));
  for (auto& [id, fail] : transfers)
    fail(gone);
}

executor_actor::behavior_type executor(executor_pointer self, supervisor_actor supervisor, std::uint32_t engine,
                                       observers observed_by) {
  explain_exceptions(self);
  forget_timeouts_at_the_end(self);
  self->state.supervisor = std::move(supervisor);
  self->state.engine = engine;
  self->state.observed_by = std::move(observed_by);
  self->set_down_handler([=](const caf::down_msg& down) {
    for (const auto& stage : self->state.stages)
      if (stage.address() == down.source)
        return replace_stages(self, self->state.epoch, sentence_of(down.reason));
  });
  return {
    [=](result_atom, std::uint64_t epoch, step_outcome& outcome) { take(self, epoch, outcome); },
    [=](attach_atom, const scheduler_actor& scheduler) {
      auto& state = self->state;
      state.scheduler = scheduler;
      self->link_to(scheduler); // Neither can go on without the other.
      if (state.failed)
        self->send(scheduler, fail_atom::value, *state.failed);
      else if (state.epoch > 0)
        self->send(scheduler, reset_atom::value, state.epoch);
    },
    [=](replace_atom, const std::vector<stage_actor>& stages) { use_stages(self, stages); },
    [=](fail_atom, error& reason) { give_up(self, std::move(reason)); },
    [=](step_atom, const step_ptr& step) { run(self, step); },
    [=](read_atom, std::uint64_t epoch, const std::vector<block_place>& places) {
      return pass_blocks<block_contents>(self, epoch,
                                         [&](auto& what) { gather_blocks(self, self->state.stages, places, what); });
    },
    [=](write_atom, std::uint64_t epoch, const block_contents& contents) {
      return pass_blocks<nothing>(self, epoch, [&](auto& what) {
        scatter_blocks(self, self->state.stages, self->state.infos, contents, what);
      });
    },
    [=](alarm_atom) { look_for_late_steps(self); },
    [=](info_atom) {
      auto& state = self->state;
      auto promise = self->make_response_promise<expected<worker_info>>();
      if (state.failed) {
        promise.deliver(expected<worker_info>(tl::unexpected(*state.failed)));
      } else {
        state.waiting_for_info.push_back(promise);
        if (state.info)
          answer_info(state);
      }
      return promise;
    },
    [=](status_atom) {
      const auto& state = self->state;
      executor_status status{state.steps,  state.epoch, state.lost_steps, state.last_recovery_ms,
                             state.failed, state.loaded};
      if (!state.in_flight.empty())
        status.step_ms = std::chrono::duration<double, std::milli>(self->clock().now() - state.front_since).count();
      return status;
    },
  };
}

} // namespace troupe
