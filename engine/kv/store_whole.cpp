// What concerns the whole store: resets, counts, and whether all of it fits together.
#include "engine/kv/store.hpp"

namespace troupe {

void kv_store::reset() {
  ++epoch_;
  tier_.give_up_all();
  tier_.forget_all_waiters();
  tier_.stop_sharing_loads();
  hits_.clear();
  while (!by_sequence_.empty())
    close_account(by_sequence_.begin()->second);
  for (auto& group : groups_) {
    group.index.clear();
    group.copies.clear();
    group.pool.reset();
  }
  events_.cleared();
}

void kv_store::reset_prefix_cache() {
  ++epoch_;
  tier_.give_up_all();
  tier_.stop_sharing_loads();
  for (auto& who : accounts_)
    who.cacheable = false;
  for (auto& group : groups_) {
    group.pool.forget_names();
    group.index.clear();
    group.copies.clear();
  }
  events_.cleared();
}

kv_store_statistics kv_store::statistics() const {
  auto result = statistics_;
  for (const auto& group : groups_)
    result.groups.push_back(group.statistics);
  result.tier = tier_.statistics;
  return result;
}

std::vector<kv_block_counts> kv_store::counts() const {
  std::vector<kv_block_counts> result;
  for (const auto& group : groups_)
    result.push_back(group.pool.counts());
  return result;
}

expected<void> kv_store::check_integrity() const {
  if (by_sequence_.size() + closed_.size() != accounts_.size())
    return fail(errc::internal, "An account of the KV cache is neither open nor closed.");
  for (const auto& [sequence, index] : by_sequence_)
    if (auto fine = check_account(sequence, accounts_[index]); !fine)
      return fine;
  for (std::size_t group = 0; group < groups_.size(); ++group)
    if (auto fine = check_group(static_cast<kv_group>(group)); !fine)
      return fail(errc::internal, "KV group " + std::to_string(group) + ": " + fine.error().message);
  return check_transfers();
}

expected<void> kv_store::check_account(sequence_id sequence, const account& who) const {
  auto broken = [&](const char* what) {
    return fail(errc::internal, "Sequence " + std::to_string(sequence) + " " + what + " in the KV cache.");
  };
  if (!who.open || who.sequence != sequence)
    return broken("has another one's account");
  if (who.loading > 0 && who.filled > 0)
    return broken("computes before its lookup has been answered");
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const auto& table = who.tables[group];
    if (who.filled > table.size() * std::uint64_t{tokens_per_block})
      return broken("has computed more tokens than it has blocks for");
    for (std::size_t i = 0; i < table.size(); ++i) {
      if (i >= who.dropped[group] ? table[i] == no_block : table[i] != no_block)
        return broken("has a hole in its table, or a block before its window");
      if (table[i] == no_block || !groups_[group].pool.has_name(table[i]))
        continue;
      if (i >= who.hashes.size() || groups_[group].pool.hash_of(table[i]) != who.hashes[i])
        return broken("has a block with the name of another content");
    }
  }
  return {};
}

expected<void> kv_store::check_group(kv_group group) const {
  const auto& state = groups_[group];
  std::vector<std::uint32_t> references(state.pool.size(), 0);
  for (const auto& who : accounts_)
    for (auto block : who.tables[group])
      if (block != no_block && block < references.size())
        ++references[block];
  if (auto fine = state.pool.check_integrity(references); !fine)
    return fine;
  std::uint32_t named = 0;
  for (block_id block = 0; block < state.pool.size(); ++block) {
    if (state.pool.has_name(block)) {
      ++named;
      if (state.index.find(state.pool.hash_of(block)) != block)
        return fail(errc::internal, "Block " + std::to_string(block) + " has a name that the index does not know.");
    }
    const auto moving = tier_.is_saving(in_row(group, block)) || tier_.is_loading(in_row(group, block));
    if (state.pool.is_held(block) != moving)
      return fail(errc::internal, "Block " + std::to_string(block) + " is held without a transfer, or the reverse.");
  }
  if (named != state.index.size())
    return fail(errc::internal, "The index has a name whose block does not.");
  for (const auto& [hash, blocks] : state.copies)
    for (auto block : blocks)
      if (references[block] == 0 || state.pool.has_name(block) || state.pool.hash_of(block) != hash ||
          state.index.find(hash) == no_block)
        return fail(errc::internal, "Block " + std::to_string(block) + " counts as a copy and is none.");
  return {};
}

expected<void> kv_store::check_transfers() const {
  std::vector<std::uint32_t> waits(accounts_.size(), 0);
  bool right = true;
  tier_.for_each_load([&](std::uint32_t place, const kv_tier_state::load_state& load) {
    const auto [group, block] = from_row(place);
    for (const auto& waiter : load.waiters) {
      ++waits[waiter.account];
      const auto& table = accounts_[waiter.account].tables[group];
      right = right && waiter.position < table.size() && table[waiter.position] == block;
    }
  });
  for (std::size_t index = 0; index < accounts_.size(); ++index)
    right = right && waits[index] == accounts_[index].loading;
  if (!right)
    return fail(errc::internal, "A sequence waits for a load that is not its own, or for none.");
  if (tier_.enabled())
    for (auto place : tier_.offers())
      if (const auto [group, block] = from_row(place); !groups_[group].pool.has_name(block))
        return fail(errc::internal, "Block " + std::to_string(block) + " is offered to the tier without a name.");
  return {};
}

} // namespace troupe
