#include "tests/engine/kv/naive_store.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

/// Whether a row after so many blocks sees something of this one.
bool naive_store::visible(std::size_t group, std::uint32_t position, std::uint32_t blocks) const {
  const std::int64_t window = groups_[group].options.window, row = std::int64_t{blocks} * tokens_per_block;
  const std::int64_t last_token = std::int64_t{position} * tokens_per_block + tokens_per_block - 1;
  return window == 0 || last_token >= row - window + 1;
}

bool naive_store::windows_fit(const sequence_state& who, std::uint32_t blocks) const {
  for (std::size_t group = 0; group < groups_.size(); ++group)
    for (std::uint32_t i = 0; i < blocks && groups_[group].options.window != 0; ++i)
      if (visible(group, i, blocks) && !groups_[group].index.contains(name_of(who, i + 1)))
        return false;
  return true;
}

block_id naive_store::loading(std::size_t group, const std::string& name) const {
  for (const auto& [at, transfer] : transfers_)
    if (transfer.load && transfer.shareable && at.first == group && transfer.name == name)
      return at.second;
  return no_block;
}

/// Whether all that rows after so many blocks see is there, or may be loaded.
bool naive_store::fits(const sequence_state& who, std::uint32_t blocks) const {
  std::size_t loads = 0;
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const auto& state = groups_[group];
    std::size_t claimed = 0;
    for (std::uint32_t i = 0; i < blocks; ++i) {
      if (!visible(group, i, blocks))
        continue;
      const auto name = name_of(who, i + 1);
      if (auto found = state.index.find(name); found != state.index.end()) {
        const auto& it = state.blocks[found->second];
        claimed += it.where == place::cached && !it.held;
      } else if (options_.tier.enabled && loading(group, name) != no_block) {
        continue;
      } else if (options_.tier.enabled && tier.contains(in_tier(group, name))) {
        ++loads;
        ++claimed;
      } else {
        return false;
      }
    }
    if (claimed > leasable(group))
      return false;
  }
  const auto running = static_cast<std::size_t>(
    std::count_if(transfers_.begin(), transfers_.end(), [](const auto& entry) { return entry.second.load; }));
  return loads == 0 || loads + running <= options_.tier.max_loading;
}

/// What is there; what is not has to be loaded.
void naive_store::take_table(sequence_state& who, std::size_t group, std::uint32_t blocks) {
  auto& state = groups_[group];
  auto& table = who.tables[group];
  const auto before = std::exchange(table, std::vector<block_id>(blocks, no_block));
  for (std::uint32_t i = 0; i < blocks; ++i)
    if (visible(group, i, blocks))
      if (auto found = state.index.find(name_of(who, i + 1)); found != state.index.end())
        take(group, table[i] = found->second);
  drop(group, before);
}

std::optional<kv_hit> naive_store::look_up(const kv_lookup& wanted) {
  sequences_.erase(wanted.sequence); // looked up in vain before
  auto& who = sequences_[wanted.sequence];
  who.root = wanted.key.salt;
  who.root.append("/").append(std::to_string(wanted.key.adapter));
  who.tokens = *wanted.tokens;
  who.cacheable = true;
  who.order = ++lookups_;
  who.tables.resize(groups_.size());
  std::uint32_t blocks = 0;
  if (wanted.may_hit) {
    ++queries;
    query_tokens += who.tokens.size();
    for (blocks = static_cast<std::uint32_t>(who.tokens.size() - 1) / tokens_per_block; blocks > 0; --blocks)
      if (fits(who, blocks))
        break;
    for (std::size_t group = 0; group < groups_.size(); ++group)
      take_table(who, group, blocks);
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      auto& table = who.tables[group];
      for (std::uint32_t i = 0; i < blocks; ++i) {
        if (table[i] != no_block || !visible(group, i, blocks))
          continue;
        const auto name = name_of(who, i + 1);
        table[i] = loading(group, name);
        if (table[i] == no_block) {
          table[i] = lease(group);
          take(group, table[i]);
          groups_[group].blocks[table[i]].held = true;
          transfers_[{group, table[i]}] = {name, true};
          new_loads_.emplace_back(group, table[i]);
        }
        who.waits.emplace(group, i);
      }
    }
  }
  who.usable = blocks;
  if (!who.waits.empty())
    return std::nullopt;
  who.filled = blocks * tokens_per_block;
  hit_tokens += who.filled;
  return kv_hit{wanted.sequence, who.filled, who.tables};
}

} // namespace troupe
