// Blocks on their way to a tier, and from it.
#include "engine/kv/store.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

std::pair<kv_group, block_id> kv_store::from_row(std::uint32_t place) const {
  auto group = groups_.size() - 1;
  while (groups_[group].base > place)
    --group;
  return {static_cast<kv_group>(group), place - groups_[group].base};
}

/// A named block, unless the tier has it or is getting it.
void kv_store::offer(kv_group group, block_id block) {
  const auto place = in_row(group, block);
  if (!tier_.is_saving(place) && !tier_.contains(tier_name(group, groups_[group].pool.hash_of(block))))
    tier_.offer(place);
}

void kv_store::offer_all() {
  if (!tier_.enabled())
    return;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const auto group = static_cast<kv_group>(i);
    const auto& pool = groups_[i].pool;
    for (const auto& who : accounts_)
      for (auto block : who.tables[i])
        if (block != no_block && pool.has_name(block))
          offer(group, block);
    // The tail of a sequence was released first; the head is saved first.
    const auto cached = pool.cached();
    for (auto block = cached.rbegin(); block != cached.rend(); ++block)
      offer(group, *block);
  }
}

/// What a sequence had goes from the tier after what nobody has used for longer.
void kv_store::tell_uses(const account& who) {
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const auto end = std::min(who.tables[group].size(), who.hashes.size());
    for (std::size_t position = who.dropped[group]; position < end; ++position)
      tier_.used(tier_name(static_cast<kv_group>(group), who.hashes[position]));
  }
}

std::vector<kv_save> kv_store::take_saves() {
  std::vector<kv_save> result;
  if (!tier_.enabled())
    return result;
  for (auto place = tier_.take_offer(); place != no_block; place = tier_.take_offer()) {
    const auto [group, block] = from_row(place);
    auto& state = groups_[group];
    const auto name = tier_name(group, state.pool.hash_of(block));
    if (tier_.contains(name))
      continue; // the tier has it by now
    state.pool.hold(block);
    tier_.begin_save(place, name, epoch_);
    kv_save save{group, block, name};
    if (const auto& parent = state.parents[block])
      save.parent = tier_name(group, *parent);
    result.push_back(save);
  }
  return result;
}

expected<bool> kv_store::saved(const kv_save& save, bool ok) {
  const auto state = save.group < groups_.size() ? tier_.end_save(in_row(save.group, save.block)) : std::nullopt;
  if (!state)
    return fail(errc::internal, "A save of block " + std::to_string(save.block) + " ended that had not begun.");
  groups_[save.group].pool.end_hold(save.block);
  ++tier_.statistics.saves;
  // After a reset, what was read may be another content, or one that must not be hit.
  if (ok && state->epoch == epoch_ && tier_.insert(state->hash))
    return true;
  ++tier_.statistics.saves_failed;
  return false;
}

/// Reserves blocks for what of the prefix is in the tier alone, and waits for what is being loaded already.
void kv_store::begin_loads(std::uint32_t index) {
  auto& who = accounts_[index];
  who.without_tier = who.usable = static_cast<std::uint32_t>(who.tables.front().size());
  for (std::size_t group = 0; group < groups_.size(); ++group)
    begin_loads(index, static_cast<kv_group>(group));
}

void kv_store::begin_loads(std::uint32_t index, kv_group group) {
  auto& who = accounts_[index];
  auto& pool = groups_[group].pool;
  auto& table = who.tables[group];
  for (auto position = who.dropped[group]; position < table.size(); ++position) {
    auto& block = table[position];
    kv_tier_state::load_state* load = nullptr;
    if (block == no_block) {
      block = lease(group); // the lookup has counted: there is one
      pool.spend(block);
      pool.hold(block);
      kv_tier_state::load_state begun;
      begun.hash = who.hashes[position];
      begun.name = tier_name(group, begun.hash);
      if (position > 0)
        begun.parent = who.hashes[position - 1];
      const auto tokens = who.tokens->begin() + std::ptrdiff_t{position} * tokens_per_block;
      std::copy(tokens, tokens + tokens_per_block, begun.tokens.begin());
      begun.key = who.key;
      begun.epoch = epoch_;
      new_loads_.push_back({who.sequence, group, block, begun.name});
      load = &tier_.begin_load(in_row(group, block), std::move(begun));
    } else if (pool.is_held(block)) {
      load = tier_.find_load(in_row(group, block)); // else it is being saved, which disturbs nobody
    }
    if (!load)
      continue;
    load->waiters.push_back({index, position});
    ++who.loading;
    who.without_tier = std::min(who.without_tier, position);
  }
}

std::vector<kv_load> kv_store::take_loads() { return std::exchange(new_loads_, {}); }

expected<void> kv_store::loaded(const kv_load& load, bool ok) {
  const auto state = load.group < groups_.size() ? tier_.end_load(in_row(load.group, load.block)) : std::nullopt;
  if (!state)
    return fail(errc::internal, "A load into block " + std::to_string(load.block) + " ended that had not begun.");
  ++tier_.statistics.loads;
  if (!ok) {
    ++tier_.statistics.loads_failed;
    tier_.erase(state->name);
  } else if (state->epoch == epoch_) {
    store(load.group, load.block, state->hash, state->parent, state->tokens, state->key);
  }
  groups_[load.group].pool.end_hold(load.block);
  for (const auto& waiter : state->waiters) {
    auto& who = accounts_[waiter.account];
    if (!ok)
      who.usable = std::min(who.usable, waiter.position);
    if (--who.loading == 0)
      finish_loading(waiter.account);
  }
  return {};
}

void kv_store::finish_loading(std::uint32_t index) {
  auto& who = accounts_[index];
  const auto blocks = fit_windows(who, who.usable, source::memory);
  if (blocks < who.tables.front().size())
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const auto group = static_cast<kv_group>(i);
      auto& table = who.tables[i];
      if (groups_[i].options.window == 0) {
        drop_references(group, std::span(table).subspan(blocks));
        table.resize(blocks);
      } else { // a shorter prefix sees other blocks; they are taken before those of the longer one are given up
        const auto before = table;
        take_window(who, group, blocks);
        drop_references(group, before);
      }
    }
  hits_.push_back(hit_of(who, blocks));
  statistics_.tier_hit_tokens += blocks > who.without_tier ? (blocks - who.without_tier) * tokens_per_block : 0;
  who.hit_ready = true;
}

std::vector<kv_hit> kv_store::take_hits() {
  for (const auto& hit : hits_)
    accounts_[by_sequence_.at(hit.sequence)].hit_ready = false;
  return std::exchange(hits_, {});
}

} // namespace troupe
