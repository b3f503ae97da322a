#include "actors/router.hpp"

#include <algorithm>

#include "actors/exceptions.hpp"

namespace troupe {

namespace {

using self_pointer = router_actor::stateful_pointer<router_state>;

expected<ticket> admit(self_pointer self, std::uint32_t tokens) {
  auto& state = self->state;
  if (state.open.size() >= state.limits.max_open_requests ||
      state.open_tokens + tokens > state.limits.max_open_tokens) {
    ++state.refused;
    return fail(errc::queue_full, "There are " + std::to_string(state.open.size()) +
                                    " open requests with prompts of about " + std::to_string(state.open_tokens) +
                                    " tokens, as many as this server takes: try again in a second.");
  }
  const auto owner = caf::actor_cast<caf::actor_addr>(self->current_sender());
  state.open.emplace(++state.last_id, router_state::request{tokens, {}, owner});
  state.open_tokens += tokens;
  state.watched.add(self, owner);
  return ticket{state.last_id};
}

expected<scheduler_actor> place(router_state& state, ticket admitted, std::uint32_t tokens) {
  auto found = state.open.find(admitted.id);
  if (found == state.open.end() || found->second.engine)
    return fail(errc::internal, "A request without a ticket was to be placed.");
  auto best = std::min_element(state.engines.begin(), state.engines.end(),
                               [](const auto& a, const auto& b) { return a.open < b.open; });
  if (best == state.engines.end())
    return fail(errc::unavailable, "No engine is running.");
  state.open_tokens += tokens;
  state.open_tokens -= found->second.tokens;
  found->second.tokens = tokens;
  found->second.engine = static_cast<std::size_t>(best - state.engines.begin());
  ++best->open;
  return best->scheduler;
}

void void_ticket(router_state& state, const router_state::request& request) {
  if (request.engine)
    --state.engines[*request.engine].open;
  state.open_tokens -= request.tokens;
}

void leave(self_pointer self, ticket ended) {
  auto& state = self->state;
  auto found = state.open.find(ended.id);
  if (found == state.open.end())
    return;
  void_ticket(state, found->second);
  state.watched.remove(self, found->second.owner);
  state.open.erase(found);
}

void owner_died(self_pointer self, const caf::actor_addr& owner) {
  auto& state = self->state;
  std::erase_if(state.open, [&](const auto& entry) {
    if (entry.second.owner != owner)
      return false;
    void_ticket(state, entry.second);
    return true;
  });
  state.watched.forget(owner);
}

} // namespace

router_actor::behavior_type router(self_pointer self, router_limits limits, std::vector<scheduler_actor> engines) {
  explain_exceptions(self);
  self->state.limits = limits;
  for (auto& scheduler : engines)
    self->state.engines.push_back({std::move(scheduler), 0});
  self->set_down_handler([=](const caf::down_msg& down) { owner_died(self, down.source); });
  return {
    [=](admit_atom, std::uint32_t tokens) { return admit(self, tokens); },
    [=](place_atom, ticket admitted, std::uint32_t tokens) { return place(self->state, admitted, tokens); },
    [=](leave_atom, ticket ended) { leave(self, ended); },
    [=](status_atom) {
      return router_status{static_cast<std::uint32_t>(self->state.open.size()), self->state.refused};
    },
  };
}

} // namespace troupe
