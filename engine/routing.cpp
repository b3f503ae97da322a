#include "engine/routing.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace troupe {

namespace {

constexpr double prompts_over = 4;          ///< So many prompts of its own length are no excess.
constexpr double handicap_left = 31.0 / 32; ///< After each request that is placed.

} // namespace

expected<routing> routing::make(routing_options options, std::size_t engines) {
  auto hasher = block_hasher::make(options.hash, options.fingerprint);
  if (!hasher)
    return tl::unexpected(hasher.error());
  if (engines > max_engines)
    return fail(errc::invalid_argument, "There are " + std::to_string(engines) + " engines, and a router knows " +
                                          std::to_string(max_engines) + " at most.");
  return routing(std::move(options), std::move(*hasher), engines);
}

kv_group group_to_route_by(std::span<const kv_group_options> groups) {
  const auto found = std::ranges::find(groups, 0u, &kv_group_options::window);
  return found == groups.end() ? kv_group{0} : static_cast<kv_group>(found - groups.begin());
}

engine_set routing::all_up() const {
  engine_set result = 0;
  for (engine_index e = 0; e < engines_.size(); ++e)
    result |= engines_[e].up ? set_of(e) : 0;
  return result;
}

/// The names of the blocks that could be hit: the prompt's last token must be computed.
void routing::hash(const placement& what) {
  hashes_.clear();
  const auto blocks = std::min<std::size_t>((what.prompt->size() - 1) / tokens_per_block, options_.max_hashed_blocks);
  auto above = hasher_.root(what.key.salt, what.key.adapter);
  for (std::size_t i = 0; i < blocks; ++i) {
    above = hasher_.next(above, std::span<const token_id, tokens_per_block>(
                                  what.prompt->data() + i * tokens_per_block, tokens_per_block));
    hashes_.push_back(above);
  }
}

void routing::find_hits(engine_set up) {
  hits_.assign(engines_.size(), 0);
  const auto is_open = [this](sequence_id id) { return requests_.find(id) != nullptr; };
  for (std::size_t i = 0; i < hashes_.size() && up != 0; ++i) {
    up &= directory_.who_has(hashes_[i], i > 0 ? &hashes_[i - 1] : nullptr, is_open);
    for (engine_index e = 0; e < engines_.size(); ++e)
      hits_[e] += (up & set_of(e)) != 0;
  }
}

double routing::queue_of(const engine_state& engine) const {
  return static_cast<double>(engine.waiting_tokens) + engine.handicap +
         static_cast<double>(engine.open_sequences) * options_.answer_tokens;
}

namespace {

/// Over the engines that are up; 0 if none is.
template <class Engines, class Value>
double mean_of(const Engines& engines, Value value) {
  double sum = 0;
  std::size_t count = 0;
  for (const auto& engine : engines)
    if (engine.up) {
      sum += value(engine);
      ++count;
    }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

} // namespace

double routing::mean_queue() const {
  return mean_of(engines_, [this](const engine_state& e) { return queue_of(e); });
}

double routing::mean_recent() const {
  return mean_of(engines_, [](const engine_state& e) { return e.recent; });
}

double routing::cost_at(engine_index engine, std::uint32_t tokens, double queue_weight, bool counts_hit) const {
  const auto& e = engines_[engine];
  const double missing = tokens - (counts_hit ? hits_[engine] * tokens_per_block : 0);
  double lacking = 0;
  if (e.free_tokens)
    lacking = std::max(0.0, missing + static_cast<double>(e.waiting_tokens) - static_cast<double>(*e.free_tokens));
  return missing + queue_of(e) * queue_weight + std::min(lacking, missing);
}

engine_index routing::cheapest(std::uint32_t tokens, engine_set up) const {
  const auto mean = mean_recent();
  const auto most = mean + std::max(mean * options_.max_excess, prompts_over * tokens);
  // Where queues are long, all of a mean queue's length is worth no more than one prompt: what is computed twice then
  // makes them longer still, and pushes other prefixes out.
  const auto weight = std::min(0.5, tokens / (mean_queue() + 1));
  engine_index best = 0;
  double best_cost = HUGE_VAL;
  for (std::size_t i = 0; i < engines_.size(); ++i) {
    const auto e = static_cast<engine_index>((next_ + i) % engines_.size());
    if (!(up & set_of(e)))
      continue;
    if (const auto cost = cost_at(e, tokens, weight, engines_[e].recent <= most); cost < best_cost) {
      best = e;
      best_cost = cost;
    }
  }
  return best;
}

expected<engine_index> routing::choose(std::uint32_t tokens, const placement& what) {
  const auto up = all_up();
  if (up == 0)
    return tl::unexpected(none_is_up());
  hashes_.clear();
  if (engines_.size() == 1)
    return engine_index{0};
  if (what.may_hit && tokens > 0)
    hash(what);
  find_hits(up);
  return cheapest(tokens, up);
}

error routing::none_is_up() const {
  if (engines_.empty())
    return {errc::unavailable, "No engine is running."};
  if (engines_.size() == 1)
    return engines_[0].why;
  // Each has its own reason; that of the first says most.
  return {errc::unavailable, "No engine is running. Of engine 0 this is known: " + engines_[0].why.message};
}

void routing::account(sequence_id id, request placed, std::uint32_t tokens) {
  auto& engine = engines_[placed.engine];
  const auto hit = hits_.empty() ? 0 : hits_[placed.engine] * tokens_per_block;
  placed.incarnation = engine.incarnation;
  placed.waiting_tokens = tokens - hit;
  requests_.insert(id, placed);
  engine.waiting_tokens += placed.waiting_tokens;
  engine.open_sequences += placed.sequences;
  ++engine.placed_requests;
  engine.placed_tokens += placed.waiting_tokens;
  engine.expected_hits += hit;
  const double work = placed.waiting_tokens + static_cast<double>(placed.sequences) * options_.answer_tokens;
  const double left = std::exp(-work / (options_.memory_tokens * static_cast<double>(engines_.size())));
  for (auto& e : engines_) {
    e.recent *= left;
    e.handicap *= handicap_left;
  }
  engine.recent += work;
  next_ = static_cast<engine_index>((placed.engine + 1) % engines_.size());
}

expected<engine_index> routing::place(sequence_id id, std::uint32_t sequences, const placement& what) {
  if (requests_.find(id))
    return fail(errc::internal, "A request was to be placed a second time.");
  const auto tokens = what.prompt ? static_cast<std::uint32_t>(what.prompt->size()) : 0u;
  const auto chosen = choose(tokens, what);
  if (!chosen)
    return chosen;
  request placed;
  placed.engine = *chosen;
  placed.sequences = sequences;
  account(id, placed, tokens);
  const auto is_open = [this](sequence_id other) { return requests_.find(other) != nullptr; };
  for (std::size_t i = 0; i < hashes_.size(); ++i)
    directory_.guess(*chosen, hashes_[i], i > 0 ? &hashes_[i - 1] : nullptr, id, is_open);
  return chosen;
}

expected<engine_index> routing::move(sequence_id from, sequence_id to, const placement& what, const error& why) {
  const auto* found = requests_.find(from);
  if (!found)
    return fail(errc::internal, "A request was to be moved that is nowhere.");
  const auto old = *found;
  leave(from);
  if (engines_[old.engine].incarnation == old.incarnation)
    down(old.engine, why);
  if (old.moves >= options_.max_moves)
    return tl::unexpected(why);
  auto chosen = place(to, old.sequences, what);
  if (chosen)
    requests_.find(to)->moves = old.moves + 1;
  return chosen;
}

bool routing::leave(sequence_id id) {
  const auto* found = requests_.find(id);
  if (!found)
    return false;
  auto& engine = engines_[found->engine];
  if (engine.incarnation == found->incarnation) {
    engine.waiting_tokens -= found->waiting_tokens;
    engine.open_sequences -= found->sequences;
  }
  return requests_.erase(id);
}

void routing::take(engine_index engine, const kv_event_batch& batch) {
  if (engine >= engines_.size() || !engines_[engine].up)
    return;
  auto& e = engines_[engine];
  if (batch.sequence != e.next_batch)
    directory_.forget(engine);
  e.next_batch = batch.sequence + 1;
  for (const auto& event : batch.events) {
    if (event.kind == kv_event::kind_type::all_cleared) {
      directory_.forget(engine);
      continue;
    }
    if (event.group != options_.group)
      continue;
    const auto* above = event.parent ? &*event.parent : nullptr;
    for (const auto& hash : event.hashes) {
      if (event.kind == kv_event::kind_type::block_stored)
        directory_.stored(engine, hash, above);
      else
        directory_.removed(engine, hash);
      above = &hash;
    }
  }
}

void routing::take(engine_index engine, const engine_load& load) {
  if (engine >= engines_.size())
    return;
  auto& e = engines_[engine];
  for (const auto& admitted : load.admissions) {
    auto* found = requests_.find(admitted.sequence); // Of several answers the first one is the request's.
    if (!found || found->engine != engine || found->incarnation != e.incarnation)
      continue;
    e.waiting_tokens -= found->waiting_tokens;
    found->waiting_tokens = 0;
  }
  if (load.free_tokens)
    e.free_tokens = load.free_tokens;
}

void routing::down(engine_index engine, error why) {
  if (engine >= engines_.size() || !engines_[engine].up)
    return;
  engines_[engine].up = false;
  engines_[engine].why = std::move(why);
  directory_.forget(engine);
}

void routing::up(engine_index engine) {
  if (engine > engines_.size() || engine >= max_engines)
    return;
  if (engine == engines_.size())
    engines_.emplace_back();
  auto& e = engines_[engine];
  e.up = false; // Not one of those whose mean it gets.
  const auto queue = mean_queue(), recent = mean_recent();
  const auto before = e;
  e = {};
  e.incarnation = before.incarnation + 1;
  e.handicap = queue;
  e.recent = recent;
  e.placed_requests = before.placed_requests;
  e.placed_tokens = before.placed_tokens;
  e.expected_hits = before.expected_hits;
  directory_.forget(engine);
}

engine_standing routing::standing(engine_index engine) const {
  const auto& e = engines_[engine];
  return {e.up, e.open_sequences, e.waiting_tokens, e.placed_requests, e.placed_tokens, e.expected_hits};
}

} // namespace troupe
