// Blocks on their way to a tier, and from it.
#include "engine/kv/store.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

std::vector<kv_save> kv_store::take_saves() {
  std::vector<kv_save> result;
  if (!tier_.enabled())
    return result;
  auto& pool = groups_[tier_group_].pool;
  for (auto block = tier_.take_offer(); block != no_block; block = tier_.take_offer()) {
    const auto& hash = pool.hash_of(block);
    if (tier_.contains(hash))
      continue; // the tier has it by now
    pool.hold(block);
    tier_.begin_save(block, hash, epoch_);
    result.push_back({tier_group_, block, hash});
  }
  return result;
}

expected<bool> kv_store::saved(const kv_save& save, bool ok) {
  const auto state = save.group == tier_group_ ? tier_.end_save(save.block) : std::nullopt;
  if (!state)
    return fail(errc::internal, "A save of block " + std::to_string(save.block) + " ended that had not begun.");
  groups_[tier_group_].pool.end_hold(save.block);
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
  auto& pool = groups_[tier_group_].pool;
  auto& table = who.tables[tier_group_];
  who.usable = static_cast<std::uint32_t>(table.size());
  for (std::uint32_t position = 0; position < table.size(); ++position) {
    auto& block = table[position];
    kv_tier_state::load_state* load = nullptr;
    if (block == no_block) {
      block = lease(tier_group_); // `find_block` has counted: there is one
      pool.spend(block);
      pool.hold(block);
      kv_tier_state::load_state begun;
      begun.hash = who.hashes[position];
      if (position > 0)
        begun.parent = who.hashes[position - 1];
      const auto tokens = who.tokens->begin() + std::ptrdiff_t{position} * tokens_per_block;
      std::copy(tokens, tokens + tokens_per_block, begun.tokens.begin());
      begun.adapter = who.adapter;
      begun.epoch = epoch_;
      load = &tier_.begin_load(block, std::move(begun));
      new_loads_.push_back({who.sequence, tier_group_, block, who.hashes[position]});
    } else if (pool.is_held(block)) {
      load = tier_.find_load(block); // else it is being saved, which disturbs nobody
    }
    if (!load)
      continue;
    load->waiters.push_back({index, position});
    if (who.loading++ == 0)
      who.without_tier = position;
  }
}

std::vector<kv_load> kv_store::take_loads() { return std::exchange(new_loads_, {}); }

expected<void> kv_store::loaded(const kv_load& load, bool ok) {
  const auto state = load.group == tier_group_ ? tier_.end_load(load.block) : std::nullopt;
  if (!state)
    return fail(errc::internal, "A load into block " + std::to_string(load.block) + " ended that had not begun.");
  ++tier_.statistics.loads;
  if (!ok) {
    ++tier_.statistics.loads_failed;
    tier_.erase(state->hash);
  } else if (state->epoch == epoch_) {
    store(tier_group_, load.block, state->hash, state->parent, state->tokens, state->adapter);
  }
  groups_[tier_group_].pool.end_hold(load.block);
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
  const auto blocks = fit_windows(who, who.usable);
  if (blocks < who.tables[tier_group_].size())
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const auto group = static_cast<kv_group>(i);
      auto& table = who.tables[i];
      if (group == tier_group_) {
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
