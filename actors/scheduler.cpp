#include "actors/scheduler.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

using scheduler_pointer = scheduler_actor::stateful_pointer<scheduler_state>;

constexpr auto no_epoch = std::numeric_limits<std::uint64_t>::max();

engine_time now(scheduler_pointer self) {
  const auto since = self->clock().now().time_since_epoch();
  return static_cast<engine_time>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

void pump(scheduler_pointer self);

void report_blocks(scheduler_pointer self) {
  auto& state = self->state;
  auto report = state.plan->take_report();
  if (!report)
    return;
  ask_neighbour<kv_grant>(
    self, state.blocks,
    [=](kv_grant& grant) {
      if (!grant.available.empty())
        self->state.free_blocks = *std::min_element(grant.available.begin(), grant.available.end());
      self->state.plan->grant(std::move(grant));
      pump(self);
    },
    // The account of blocks is broken or its owner is gone; without it no step is safe.
    [=](caf::error& reason) { self->quit(std::move(reason)); }, report_atom::value, std::move(*report));
}

std::uint32_t receiver_of(scheduler_pointer self, const stream_actor& stream) {
  auto& state = self->state;
  auto [found, is_new] = state.streams.emplace(stream.id(), 0);
  if (!is_new)
    return found->second;
  if (state.free_receivers.empty()) {
    state.free_receivers.push_back(static_cast<std::uint32_t>(state.receivers.size()));
    state.receivers.emplace_back();
  }
  found->second = state.free_receivers.back();
  state.free_receivers.pop_back();
  state.receivers[found->second].stream = stream;
  self->monitor(stream);
  return found->second;
}

stream_events& events_for(scheduler_state& state, slot_id slot) {
  const auto index = state.owners[slot].receiver;
  auto& receiver = state.receivers[index];
  if (!std::exchange(receiver.touched, true))
    state.touched.push_back(index);
  return receiver.events;
}

/// One message for each stream, whatever a step brought it.
void tell_streams(scheduler_pointer self) {
  auto& state = self->state;
  for (auto index : state.touched) {
    auto& receiver = state.receivers[index];
    receiver.touched = false;
    const auto size = receiver.events.tokens.size();
    if (receiver.stream)
      self->send(receiver.stream, tokens_atom::value, std::exchange(receiver.events, {}));
    receiver.events.tokens.reserve(size); // The next step mostly brings as many.
  }
  state.touched.clear();
}

void tell_load(scheduler_pointer self, const std::vector<admitted_sequence>& admissions) {
  auto& state = self->state;
  engine_load load;
  for (const auto& admitted : admissions)
    load.admissions.push_back({admitted.sequence, admitted.cached_tokens});
  if (state.free_blocks)
    load.free_tokens = std::uint64_t{*state.free_blocks} * tokens_per_block;
  self->send(state.watcher, load_atom::value, state.engine, std::move(load));
}

/// Sends whatever can be sent: steps until enough are in flight, and a report of blocks.
void pump(scheduler_pointer self) {
  auto& state = self->state;
  auto& plan = *state.plan;
  while (!state.failed && plan.steps_in_flight() < state.max_steps_in_flight) {
    auto step = plan.plan(now(self));
    if (!step)
      break;
    self->send(state.steps, step_atom::value, std::make_shared<const step_changes>(std::move(*step)));
  }
  const auto admissions = plan.take_admissions();
  const auto planned = self->clock().now();
  for (const auto& admitted : admissions)
    events_for(state, admitted.slot).admissions.push_back({admitted.sequence, admitted.cached_tokens, planned});
  if (state.watcher && !admissions.empty())
    tell_load(self, admissions);
  report_blocks(self);
}

void collect(scheduler_state& state, std::span<const token_event> events) {
  for (const auto& part : state.plan->prompt_logprobs())
    if (state.owners[part.slot].sequence == part.sequence) // Otherwise its stream has died.
      events_for(state, part.slot)
        .prompt_logprobs.push_back({part.sequence, part.position, {part.tokens.begin(), part.tokens.end()}});
  for (const auto& pooled : state.plan->embeddings())
    if (state.owners[pooled.slot].sequence == pooled.sequence)
      events_for(state, pooled.slot)
        .embeddings.push_back({pooled.sequence, {pooled.values.begin(), pooled.values.end()}});
  for (const auto& event : events) {
    auto& out = events_for(state, event.slot);
    if (event.logprob)
      out.logprobs.push_back({static_cast<std::uint32_t>(out.tokens.size()), *event.logprob});
    out.tokens.push_back({event.sequence, event.index, event.token, sequence_event::finished_by(event.finished)});
    if (event.finished)
      state.owners[event.slot].sequence = 0;
  }
}

void collect_failures(scheduler_state& state) {
  for (const auto& failure : state.plan->failures()) {
    events_for(state, failure.slot).failures.push_back({failure.sequence, failure.why, false});
    state.owners[failure.slot].sequence = 0;
  }
}

void refuse(scheduler_pointer self, const stream_actor& stream, sequence_id id, const error& reason) {
  stream_events events;
  events.failures.push_back({id, reason, self->state.failed.has_value()});
  self->send(stream, tokens_atom::value, std::move(events));
}

void add(scheduler_pointer self, new_sequence& sequence, const stream_actor& stream) {
  auto& state = self->state;
  const auto id = sequence.id;
  if (state.failed)
    return refuse(self, stream, id, *state.failed);
  auto slot = state.plan->add(std::move(sequence), now(self));
  if (!slot)
    return refuse(self, stream, id, slot.error());
  if (*slot >= state.owners.size())
    state.owners.resize(*slot + 1);
  state.owners[*slot] = {id, receiver_of(self, stream)};
  pump(self);
}

void fail_all(scheduler_pointer self, error reason) {
  auto& state = self->state;
  if (state.failed)
    return;
  tell_streams(self);
  state.failed = std::move(reason);
  state.plan->reset(no_epoch); // What is in flight will not come back.
  for (auto& owner : state.owners)
    if (owner.sequence != 0 && state.plan->remove(owner.sequence))
      refuse(self, state.receivers[owner.receiver].stream, owner.sequence, *state.failed);
  state.owners.clear();
  report_blocks(self);
}

void take(scheduler_pointer self, const step_result& result) {
  auto& state = self->state;
  auto events = state.plan->take(result);
  if (!events)
    return fail_all(self, events.error());
  collect(state, *events);
  collect_failures(state);
  pump(self);
  tell_streams(self);
}

std::uint32_t change_flow(scheduler_pointer self, const flow_change& change) {
  auto& plan = *self->state.plan;
  for (std::uint32_t i = 0; i < change.sequences; ++i)
    change.paused ? plan.pause(change.first + i) : plan.resume(change.first + i);
  for (const auto& share : change.credit)
    plan.grant_credit(change.first + share.choice, share.tokens);
  pump(self);
  return change.sequences;
}

/// Nobody waits for its sequences any more.
void stream_died(scheduler_pointer self, caf::actor_id stream) {
  auto& state = self->state;
  auto found = state.streams.find(stream);
  if (found == state.streams.end())
    return;
  const auto index = found->second;
  for (auto& owner : state.owners)
    if (owner.sequence != 0 && owner.receiver == index)
      state.plan->remove(std::exchange(owner.sequence, 0));
  state.receivers[index] = {};
  std::erase(state.touched, index);
  state.free_receivers.push_back(index);
  state.streams.erase(found);
  pump(self);
}

} // namespace

scheduler_actor::behavior_type scheduler(scheduler_pointer self, planner_options options, kv_cache_actor blocks,
                                         executor_actor steps, std::uint32_t max_steps_in_flight) {
  explain_exceptions(self);
  auto& state = self->state;
  state.plan = std::make_unique<planner>(std::move(options));
  state.blocks = std::move(blocks);
  state.steps = std::move(steps);
  state.max_steps_in_flight = max_steps_in_flight;
  self->send(state.steps, attach_atom::value, scheduler_actor(self));
  self->send(state.blocks, attach_atom::value, scheduler_actor(self));
  report_blocks(self);
  self->set_down_handler([=](const caf::down_msg& down) { stream_died(self, down.source.id()); });
  return {
    [=](add_atom, new_sequence& sequence, const stream_actor& stream) { add(self, sequence, stream); },
    [=](remove_atom, sequence_id id) {
      if (self->state.plan->remove(id))
        pump(self);
    },
    [=](credit_atom, sequence_id id, std::uint32_t tokens) {
      if (self->state.plan->grant_credit(id, tokens))
        pump(self);
    },
    [=](flow_atom, const flow_change& change) { return change_flow(self, change); },
    [=](draft_atom, sequence_id id, std::uint32_t index, const std::vector<token_id>& drafts) {
      if (self->state.plan->propose(id, index, drafts))
        pump(self);
    },
    [=](result_atom, const step_result& result) { take(self, result); },
    [=](hit_atom, kv_hit& found, std::uint32_t generation) {
      self->state.plan->hit(std::move(found), generation);
      pump(self);
    },
    [=](free_atom) {
      self->state.plan->blocks_came_free();
      pump(self);
    },
    [=](watch_atom, const engine_watcher_actor& watcher, engine_index engine) {
      self->state.watcher = watcher;
      self->state.engine = engine;
      self->send(self->state.blocks, watch_atom::value, watcher, engine);
    },
    [=](reset_atom, std::uint64_t epoch) {
      self->state.plan->reset(epoch);
      pump(self);
    },
    [=](fail_atom, error& reason) { fail_all(self, std::move(reason)); },
    [=](status_atom) { return self->state.plan->counts(); },
    [=](check_atom) -> expected<nothing> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return self->state.plan->check_integrity().map([] { return nothing{}; });
    },
  };
}

} // namespace troupe
