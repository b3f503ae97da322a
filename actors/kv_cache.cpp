#include "actors/kv_cache.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

namespace {

void publish_events(kv_cache_pointer self) {
  auto& state = self->state;
  if (!state.partners.publisher && !state.watcher)
    return;
  auto batch = state.numbers.next(state.store->take_events());
  if (!batch)
    return;
  if (state.watcher)
    self->send(state.watcher, publish_atom::value, state.engine, *batch);
  if (state.partners.publisher)
    self->send(state.partners.publisher, publish_atom::value, std::move(*batch));
}

/// An error: the scheduler's account and ours differ, and going on would give one block to two sequences.
expected<kv_grant> apply_report(kv_cache_pointer self, const kv_report& report) {
  auto& state = self->state;
  state.epoch = report.epoch;
  auto grant = state.store->apply(report);
  if (!grant)
    return grant;
  publish_events(self);
  if (state.partners.tier)
    begin_transfers(self);
  return grant;
}

caf::error error_of(const expected<kv_grant>& grant) {
  return caf::make_error(caf::sec::runtime_error, grant.error().message);
}

/// At most one report is on its way, so at most one has to wait: a second one begins a new generation, and makes the
/// first void. Nobody waits for the answer to that.
caf::result<kv_grant> take_report(kv_cache_pointer self, const kv_report& report) {
  auto& state = self->state;
  if (!state.ready) {
    auto promise = self->make_response_promise<kv_grant>();
    state.first_report.emplace(report, promise);
    return promise;
  }
  auto grant = apply_report(self, report);
  if (!grant)
    return error_of(grant);
  return std::move(*grant);
}

} // namespace

void get_ready(kv_cache_pointer self) {
  auto& state = self->state;
  state.ready = true;
  auto waiting = std::exchange(state.first_report, {});
  if (!waiting)
    return;
  auto grant = apply_report(self, waiting->first);
  if (grant)
    waiting->second.deliver(std::move(*grant));
  else
    waiting->second.deliver(error_of(grant));
}

kv_cache_actor::behavior_type kv_cache(kv_cache_pointer self, kv_store store, kv_cache_partners partners) {
  explain_exceptions(self);
  self->state.store = std::move(store);
  self->state.partners = std::move(partners);
  self->state.ready = !self->state.partners.tier;
  if (self->state.partners.tier)
    learn_what_the_tier_has(self);
  return {
    [=](attach_atom, const scheduler_actor& scheduler) { self->state.scheduler = scheduler; },
    [=](watch_atom, const engine_watcher_actor& watcher, engine_index engine) {
      self->state.watcher = watcher;
      self->state.engine = engine;
    },
    [=](report_atom, const kv_report& report) { return take_report(self, report); },
    [=](status_atom) {
      const auto& store = *self->state.store;
      return kv_status{store.counts(), store.statistics(), static_cast<std::uint32_t>(store.sequences())};
    },
    [=](flush_atom) { return flush(self); },
    [=](reset_atom) {
      self->state.store->reset_prefix_cache();
      publish_events(self);
      return expected<nothing>{nothing{}};
    },
    [=](check_atom) { return expected<nothing>(self->state.store->check_integrity().map([] { return nothing{}; })); },
  };
}

} // namespace troupe
