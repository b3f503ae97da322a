// Blocks between the device and a tier. The store says which; every transfer that it was told has begun is ended here,
// whatever fails on the way: a save that fails is not kept, a load that fails is computed.

#include "actors/ask.hpp"
#include "actors/kv_cache.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

/// Hits that waited for loads go to the scheduler by themselves.
void send_hits(kv_cache_pointer self) {
  auto& state = self->state;
  for (auto& hit : state.store->take_hits())
    self->send(state.scheduler, hit_atom::value, std::move(hit), state.store->generation());
}

/// The store does not accept the end of a transfer that it does not know: our bug, after which nothing is safe.
template <class T>
bool must(kv_cache_pointer self, const expected<T>& done) {
  if (!done)
    self->quit(caf::make_error(caf::sec::runtime_error, done.error().message));
  return done.has_value();
}

/// A scheduler that lacks blocks waits for this.
void tell_of_free_blocks(kv_cache_pointer self) {
  if (self->state.scheduler)
    self->send(self->state.scheduler, free_atom::value);
}

void end_loads(kv_cache_pointer self, const std::vector<kv_load>& loads, const std::vector<bool>& ok) {
  for (std::size_t i = 0; i < loads.size(); ++i)
    if (!must(self, self->state.store->loaded(loads[i], ok[i])))
      return;
  send_hits(self);
  tell_of_free_blocks(self);
  begin_transfers(self);
}

/// What the tier had goes to the device.
void write_loads(kv_cache_pointer self, std::uint64_t epoch, const std::vector<kv_load>& loads,
                 const std::vector<shared_bytes>& bytes) {
  block_contents contents;
  std::vector<bool> there;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    there.push_back(bytes[i] != nullptr);
    if (bytes[i])
      contents.push_back({{loads[i].group, loads[i].block}, bytes[i]});
  }
  if (contents.empty())
    return end_loads(self, loads, there);
  ask<expected<nothing>>(
    self, self->state.partners.executor, timeouts::transfer,
    [=](expected<nothing>& written) {
      end_loads(self, loads, written ? there : std::vector<bool>(loads.size(), false));
    },
    [=](const caf::error&) { end_loads(self, loads, std::vector<bool>(loads.size(), false)); }, write_atom::value,
    epoch, std::move(contents));
}

void begin_loads(kv_cache_pointer self) {
  auto& state = self->state;
  auto loads = state.store->take_loads();
  if (loads.empty())
    return;
  std::vector<block_hash> hashes;
  for (const auto& load : loads)
    hashes.push_back(load.hash);
  ask<std::vector<shared_bytes>>(
    self, state.partners.tier, timeouts::transfer,
    [=, epoch = state.epoch](std::vector<shared_bytes>& bytes) { write_loads(self, epoch, loads, bytes); },
    [=](const caf::error&) { end_loads(self, loads, std::vector<bool>(loads.size(), false)); }, load_atom::value,
    std::move(hashes));
}

/// Whoever waits for the last save is answered after all that the tier was told before.
void end_flush(kv_cache_pointer self) {
  auto& state = self->state;
  if (state.flushing.empty() || state.store->has_saves())
    return;
  const auto answer = [self] {
    for (auto& promise : std::exchange(self->state.flushing, {}))
      promise.deliver(expected<nothing>{nothing{}});
  };
  ask<std::vector<tier_counts>>(
    self, state.partners.tier, timeouts::transfer, [=](const std::vector<tier_counts>&) { answer(); },
    [=](const caf::error&) { answer(); }, status_atom::value);
}

void end_saves(kv_cache_pointer self, const std::vector<kv_save>& saves, const tier_saves& kept) {
  auto& state = self->state;
  std::vector<block_hash> unwanted;
  for (std::size_t i = 0; i < saves.size(); ++i) {
    const auto known = state.store->saved(saves[i], kept.saved[i]);
    if (!must(self, known))
      return;
    if (kept.saved[i] && !*known)
      unwanted.push_back(saves[i].hash);
  }
  for (const auto& hash : kept.evicted)
    state.store->tier_lost(hash);
  if (!unwanted.empty())
    self->send(state.partners.tier, drop_atom::value, std::move(unwanted));
  if (kept.problem)
    say(self->state.partners.log, log_level::warning, "kv_tier_saves_not",
        "the KV tier does not save: " + kept.problem->message);
  tell_of_free_blocks(self);
  begin_transfers(self);
  end_flush(self);
}

void fail_saves(kv_cache_pointer self, const std::vector<kv_save>& saves) {
  end_saves(self, saves, tier_saves{std::vector<bool>(saves.size(), false), {}, {}});
}

/// What the device gave goes to the tier.
void keep_saves(kv_cache_pointer self, const std::vector<kv_save>& saves, const block_contents& contents) {
  std::vector<tier_block> blocks;
  for (std::size_t i = 0; i < saves.size(); ++i)
    blocks.push_back({saves[i].hash, contents[i].bytes, saves[i].parent});
  ask<tier_saves>(
    self, self->state.partners.tier, timeouts::transfer,
    [=](const tier_saves& kept) { end_saves(self, saves, kept); },
    [=](const caf::error&) { fail_saves(self, saves); }, save_atom::value, std::move(blocks));
}

void begin_saves(kv_cache_pointer self) {
  auto& state = self->state;
  auto saves = state.store->take_saves();
  if (saves.empty())
    return;
  std::vector<block_place> places;
  for (const auto& save : saves)
    places.push_back({save.group, save.block});
  ask<expected<block_contents>>(
    self, state.partners.executor, timeouts::transfer,
    [=](expected<block_contents>& contents) {
      if (contents && contents->size() == saves.size())
        keep_saves(self, saves, *contents);
      else
        fail_saves(self, saves);
    },
    [=](const caf::error&) { fail_saves(self, saves); }, read_atom::value, state.epoch, std::move(places));
}

/// Before what is saved now, which may evict them.
void tell_uses(kv_cache_pointer self) {
  auto& state = self->state;
  if (state.telling_uses)
    return;
  auto uses = state.store->take_uses();
  if (uses.empty())
    return;
  state.telling_uses = true;
  const auto done = [self] { self->state.telling_uses = false; };
  ask<expected<nothing>>(
    self, state.partners.tier, timeouts::transfer, [=](const expected<nothing>&) { done(); },
    [=](const caf::error&) { done(); }, use_atom::value, std::move(uses));
}

} // namespace

void begin_transfers(kv_cache_pointer self) {
  begin_loads(self);
  tell_uses(self);
  begin_saves(self);
}

caf::result<expected<nothing>> flush(kv_cache_pointer self) {
  auto& state = self->state;
  if (!state.partners.tier)
    return expected<nothing>{nothing{}};
  auto promise = self->make_response_promise<expected<nothing>>();
  state.flushing.push_back(promise);
  state.store->offer_all();
  begin_transfers(self);
  end_flush(self);
  return promise;
}

void learn_what_the_tier_has(kv_cache_pointer self) {
  const auto without = [=](const std::string& why) {
    say(self->state.partners.log, log_level::warning, "kv_tier_missing", "no KV tier: " + why);
    get_ready(self);
  };
  ask<expected<std::vector<block_hash>>>(
    self, self->state.partners.tier, timeouts::transfer,
    [=](const expected<std::vector<block_hash>>& names) {
      if (!names)
        return without(names.error().message);
      for (const auto& name : *names)
        if (!self->state.store->tier_has(name))
          break; // It has more than we may know of: the rest is not found.
      get_ready(self);
    },
    [=](const caf::error& reason) { without(caf::to_string(reason)); }, list_atom::value);
}

} // namespace troupe
