#include "actors/scheduler.hpp"

#include <limits>

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

using self_pointer = scheduler_actor::stateful_pointer<scheduler_state>;

constexpr auto no_epoch = std::numeric_limits<std::uint64_t>::max();

void pump(self_pointer self);

void report_blocks(self_pointer self) {
  auto& state = self->state;
  auto report = state.plan->take_report();
  if (!report)
    return;
  ask<kv_grant>(
    self, state.blocks, timeouts::bookkeeping,
    [=](kv_grant& grant) {
      self->state.plan->grant(std::move(grant));
      pump(self);
    },
    // The account of blocks is broken or its owner is gone; without it no step is safe.
    [=](caf::error& reason) { self->quit(std::move(reason)); }, report_atom::value, std::move(*report));
}

/// Sends whatever can be sent: a report of blocks, and steps until enough are in flight.
void pump(self_pointer self) {
  auto& state = self->state;
  report_blocks(self);
  if (state.failed)
    return;
  while (state.plan->counts().steps_in_flight < state.max_steps_in_flight) {
    auto step = state.plan->plan();
    report_blocks(self);
    if (!step)
      return;
    self->send(state.steps, step_atom::value, std::make_shared<const step_changes>(std::move(*step)));
  }
}

void forget(self_pointer self, sequence_id id) {
  auto& state = self->state;
  auto found = state.streams.find(id);
  if (found == state.streams.end())
    return;
  state.watched.remove(self, found->second.address());
  state.streams.erase(found);
}

/// One message for each stream, whatever a step brought it.
void deliver(self_pointer self, const std::vector<token_event>& events) {
  auto& streams = self->state.streams;
  std::vector<std::pair<stream_actor, sequence_events>> batches;
  for (const auto& event : events) {
    auto found = streams.find(event.sequence);
    if (found == streams.end())
      continue;
    auto batch = std::find_if(batches.begin(), batches.end(), [&](auto& b) { return b.first == found->second; });
    if (batch == batches.end())
      batch = batches.insert(batches.end(), {found->second, {}});
    batch->second.push_back({event.sequence, event.index, event.token, event.finished, {}});
    if (event.finished)
      forget(self, event.sequence);
  }
  for (auto& [stream, batch] : batches)
    self->send(stream, tokens_atom::value, std::move(batch));
}

void refuse(self_pointer self, const stream_actor& stream, sequence_id id, error reason) {
  self->send(stream, tokens_atom::value, sequence_events{{id, 0, 0, finish_reason::error, std::move(reason)}});
}

} // namespace

scheduler_actor::behavior_type scheduler(self_pointer self, planner_options options, kv_cache_actor blocks,
                                         executor_actor steps, std::uint32_t stages) {
  explain_exceptions(self);
  auto& state = self->state;
  state.plan = std::make_unique<planner>(std::move(options));
  state.blocks = std::move(blocks);
  state.steps = std::move(steps);
  state.max_steps_in_flight = stages;
  self->send(state.steps, attach_atom::value, scheduler_actor(self));
  report_blocks(self);
  self->set_down_handler(
    [=](const caf::down_msg& down) { // A stream has died: nobody waits for its sequences any more.
      auto& state = self->state;
      std::erase_if(state.streams, [&](const auto& entry) {
        if (entry.second.address() != down.source)
          return false;
        state.plan->remove(entry.first);
        return true;
      });
      state.watched.forget(down.source);
      pump(self);
    });
  return {
    [=](add_atom, new_sequence& sequence, const stream_actor& stream) {
      auto& state = self->state;
      const auto id = sequence.id;
      if (state.failed)
        return refuse(self, stream, id, *state.failed);
      if (auto added = state.plan->add(std::move(sequence)); !added)
        return refuse(self, stream, id, added.error());
      state.watched.add(self, stream.address());
      state.streams.emplace(id, stream);
      pump(self);
    },
    [=](remove_atom, sequence_id id) {
      forget(self, id);
      if (self->state.plan->remove(id))
        pump(self);
    },
    [=](credit_atom, sequence_id id, std::uint32_t tokens) {
      if (self->state.plan->grant_credit(id, tokens))
        pump(self);
    },
    [=](result_atom, const step_result& result) {
      deliver(self, self->state.plan->take(result));
      pump(self);
    },
    [=](reset_atom, std::uint64_t epoch) {
      self->state.plan->reset(epoch);
      pump(self);
    },
    [=](fail_atom, error& reason) {
      auto& state = self->state;
      state.failed = std::move(reason);
      state.plan->reset(no_epoch); // What is in flight will not come back.
      for (const auto& [id, stream] : std::exchange(state.streams, {})) {
        state.plan->remove(id);
        state.watched.remove(self, stream.address());
        refuse(self, stream, id, *state.failed);
      }
      report_blocks(self);
    },
    [=](status_atom) { return self->state.plan->counts(); },
    [=](check_atom) { return expected<nothing>(self->state.plan->check_integrity().map([] { return nothing{}; })); },
  };
}

} // namespace troupe
