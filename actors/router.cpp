#include "actors/router.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

namespace {

using self_pointer = router_actor::stateful_pointer<router_state>;

engine_time now(self_pointer self) {
  const auto since = self->clock().now().time_since_epoch();
  return static_cast<engine_time>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

expected<scheduler_actor> place(self_pointer self, sequence_id id, std::uint32_t tokens) {
  auto engine = self->state.open->place(id, tokens);
  if (!engine)
    return tl::unexpected(std::move(engine.error()));
  return self->state.engines[*engine];
}

void answer_drained(self_pointer self) {
  if (self->state.open->open_requests() > 0)
    return;
  for (auto& promise : std::exchange(self->state.drained, {}))
    promise.deliver(expected<nothing>(nothing{}));
}

void leave(self_pointer self, ticket ended) {
  self->state.open->leave(ended.id, now(self));
  answer_drained(self);
}

expected<admitted_request> admit(self_pointer self, const admission_request& request) {
  auto& state = self->state;
  const auto owner = caf::actor_cast<caf::actor_addr>(self->current_sender());
  auto granted = state.open->admit(owner.id(), request.tokens, request.sequences, now(self));
  if (!granted)
    return tl::unexpected(std::move(granted.error()));
  if (state.owners.insert(owner.id()).second)
    self->monitor(owner);
  admitted_request result;
  result.granted = *granted;
  if (!request.exact)
    return result;
  auto scheduler = place(self, granted->id, request.tokens);
  if (!scheduler) {
    leave(self, *granted);
    return tl::unexpected(std::move(scheduler.error()));
  }
  result.scheduler = std::move(*scheduler);
  return result;
}

void owner_died(self_pointer self, const caf::actor_addr& owner) {
  auto& state = self->state;
  state.open->owner_died(owner.id(), now(self));
  state.owners.erase(owner.id());
  answer_drained(self);
}

} // namespace

router_actor::behavior_type router(self_pointer self, admission_limits limits, std::vector<scheduler_actor> engines) {
  explain_exceptions(self);
  self->state.open = std::make_unique<admission_control>(limits, engines.size());
  self->state.engines = std::move(engines);
  self->set_down_handler([=](const caf::down_msg& down) { owner_died(self, down.source); });
  return {
    [=](admit_atom, const admission_request& request) { return admit(self, request); },
    [=](place_atom, ticket admitted, std::uint32_t tokens) { return place(self, admitted.id, tokens); },
    [=](leave_atom, ticket ended) { leave(self, ended); },
    [=](drain_atom) {
      auto promise = self->make_response_promise<expected<nothing>>();
      self->state.open->drain();
      self->state.drained.push_back(promise);
      answer_drained(self);
      return promise;
    },
    [=](status_atom) {
      const auto& open = *self->state.open;
      return router_status{open.open_requests(), open.open_sequences(), open.open_tokens(), open.refused(),
                           open.draining()};
    },
  };
}

} // namespace troupe
