#include "actors/router.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

namespace {

using router_pointer = router_actor::stateful_pointer<router_state>;

engine_time now(router_pointer self) {
  const auto since = self->clock().now().time_since_epoch();
  return static_cast<engine_time>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

void answer_drained(router_pointer self) {
  if (self->state.open->open_requests() > 0)
    return;
  for (auto& promise : std::exchange(self->state.drained, {}))
    promise.deliver(expected<nothing>(nothing{}));
}

void leave(router_pointer self, ticket ended) {
  self->state.routes->leave(ended.id);
  self->state.open->leave(ended.id, now(self));
  answer_drained(self);
}

expected<scheduler_actor> place(router_pointer self, ticket admitted, const placement& what) {
  auto& state = self->state;
  const auto tokens = what.prompt ? static_cast<std::uint32_t>(what.prompt->size()) : 0u;
  if (!state.open->count_prompt(admitted.id, tokens))
    return fail(errc::internal, "A request without a ticket was to be placed.");
  const auto engine = state.routes->place(admitted.id, admitted.sequences, what);
  if (!engine)
    return tl::unexpected(engine.error());
  return state.engines[*engine];
}

expected<admitted_request> admit(router_pointer self, const admission_request& request) {
  auto& state = self->state;
  const auto owner = caf::actor_cast<caf::actor_addr>(self->current_sender());
  auto granted = state.open->admit(owner.id(), request.tokens, request.sequences, now(self));
  if (!granted)
    return tl::unexpected(std::move(granted.error()));
  if (state.owners.insert(owner.id()).second)
    self->monitor(owner);
  admitted_request result;
  result.granted = *granted;
  if (!request.exact.prompt)
    return result;
  auto scheduler = place(self, *granted, request.exact);
  if (!scheduler) {
    leave(self, *granted);
    return tl::unexpected(std::move(scheduler.error()));
  }
  result.scheduler = std::move(*scheduler);
  return result;
}

/// Where it can go nowhere, its ticket stays until its stream has ended it: a drain is not over before.
expected<admitted_request> move_request(router_pointer self, ticket old, const placement& what, const error& why) {
  auto& state = self->state;
  const auto fresh = state.open->fresh_ids(old.id);
  if (!fresh)
    return fail(errc::internal, "A request without a ticket was to be moved.");
  const auto engine = state.routes->move(old.id, fresh->id, what, why);
  if (!engine)
    return tl::unexpected(engine.error());
  state.open->rename(old.id, *fresh);
  return admitted_request{*fresh, state.engines[*engine]};
}

void have_watched(router_pointer self, engine_index engine) {
  self->send(self->state.engines[engine], watch_atom::value, engine_watcher_actor(self), engine);
}

/// With one engine there is nothing to choose, and nobody tells anything.
void engine_up(router_pointer self, engine_index engine, const scheduler_actor& scheduler) {
  auto& state = self->state;
  if (engine > state.engines.size() || engine >= max_engines)
    return;
  const bool is_new = engine == state.engines.size();
  if (is_new)
    state.engines.push_back(scheduler);
  else
    self->demonitor(std::exchange(state.engines[engine], scheduler).address());
  state.routes->up(engine);
  self->monitor(scheduler);
  if (is_new && engine == 1)
    have_watched(self, 0);
  if (state.engines.size() > 1)
    have_watched(self, engine);
}

void somebody_died(router_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  for (engine_index e = 0; e < state.engines.size(); ++e)
    if (state.engines[e].address() == down.source)
      return state.routes->down(e, {errc::unavailable, "The engine has ended: " + caf::to_string(down.reason)});
  for (auto id : state.open->owner_died(down.source.id(), now(self)))
    state.routes->leave(id);
  state.owners.erase(down.source.id());
  answer_drained(self);
}

router_status status(const router_state& state) {
  const auto& open = *state.open;
  router_status result{open.open_requests(), open.open_sequences(), open.open_tokens(),
                       open.refused(),       open.draining(),       {}};
  for (engine_index e = 0; e < state.routes->engines(); ++e)
    result.engines.push_back(state.routes->standing(e));
  return result;
}

} // namespace

router_actor::behavior_type router(router_pointer self, router_options options, std::vector<scheduler_actor> engines) {
  explain_exceptions(self);
  auto& state = self->state;
  auto routes = routing::make(std::move(options.routing), engines.size());
  if (!routes) {
    self->quit(caf::make_error(caf::sec::bad_function_call, routes.error().message));
    return router_actor::behavior_type::make_empty_behavior();
  }
  state.open = std::make_unique<admission_control>(options.limits);
  state.routes.emplace(std::move(*routes));
  state.engines = std::move(engines);
  for (engine_index e = 0; e < state.engines.size(); ++e) {
    self->monitor(state.engines[e]);
    if (state.engines.size() > 1)
      have_watched(self, e);
  }
  self->set_down_handler([=](const caf::down_msg& down) { somebody_died(self, down); });
  return {
    [=](admit_atom, const admission_request& request) { return admit(self, request); },
    [=](place_atom, ticket admitted, const placement& what) { return place(self, admitted, what); },
    [=](replace_atom, ticket old, const placement& what, const error& why) { return move_request(self, old, what, why); },
    [=](leave_atom, ticket ended) { leave(self, ended); },
    [=](publish_atom, engine_index engine, const kv_event_batch& batch) { self->state.routes->take(engine, batch); },
    [=](load_atom, engine_index engine, const engine_load& load) { self->state.routes->take(engine, load); },
    [=](down_atom, engine_index engine, const error& why) { self->state.routes->down(engine, why); },
    [=](up_atom, engine_index engine, const scheduler_actor& scheduler) { engine_up(self, engine, scheduler); },
    [=](drain_atom) {
      auto promise = self->make_response_promise<expected<nothing>>();
      self->state.open->drain();
      self->state.drained.push_back(promise);
      answer_drained(self);
      return promise;
    },
    [=](status_atom) { return status(self->state); },
  };
}

} // namespace troupe
