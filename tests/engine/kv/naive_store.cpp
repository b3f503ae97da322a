#include "tests/engine/kv/naive_store.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

naive_store::naive_store(const kv_store_options& options) : options_(options) {
  for (const auto& group : options.groups) {
    group_state state;
    state.options = group;
    state.blocks.resize(group.blocks);
    for (block_id block = 0; block < group.blocks; ++block)
      state.blank.push_back(block);
    groups_.push_back(std::move(state));
  }
  evictions.resize(groups_.size());
}

std::string naive_store::name_of(const sequence_state& who, std::uint32_t blocks) const {
  std::string name = who.root;
  for (std::uint32_t i = 0; i < blocks * tokens_per_block; ++i)
    name.append(",").append(std::to_string(who.tokens[i]));
  return name;
}

int naive_store::references(std::size_t group, block_id block) const {
  int result = 0;
  for (const auto& [id, who] : sequences_)
    result += static_cast<int>(std::count(who.tables[group].begin(), who.tables[group].end(), block));
  return result;
}

std::size_t naive_store::leasable(std::size_t group) const {
  const auto& state = groups_[group];
  return state.blank.size() + static_cast<std::size_t>(std::count_if(state.lru.begin(), state.lru.end(),
                                                                     [&](auto b) { return !state.blocks[b].held; }));
}

block_id naive_store::lease(std::size_t group) {
  auto& state = groups_[group];
  block_id block;
  if (!state.blank.empty()) {
    block = state.blank.front();
    state.blank.pop_front();
  } else {
    auto found = std::find_if(state.lru.begin(), state.lru.end(), [&](auto b) { return !state.blocks[b].held; });
    block = *found;
    state.lru.erase(found);
    const auto name = *state.blocks[block].name;
    state.index.erase(name);
    state.blocks[block].name.reset();
    const auto copy =
      std::find_if(state.copies.begin(), state.copies.end(), [&](auto& it) { return it.first == name; });
    if (copy != state.copies.end()) {
      state.index.emplace(name, copy->second);
      state.blocks[copy->second].name = name;
      state.copies.erase(copy);
      ++named_copies;
    }
    ++evictions[group];
    offers_.remove({group, block});
  }
  state.blocks[block].where = place::leased;
  return block;
}

/// A block that has just lost its last user goes where it belongs.
void naive_store::settle(std::size_t group, block_id block) {
  auto& state = groups_[group];
  auto& it = state.blocks[block];
  if (references(group, block) > 0)
    return;
  state.lru.remove(block);
  state.copies.remove_if([&](const auto& copy) { return copy.second == block; });
  if (it.name) {
    it.where = place::cached;
    state.lru.push_back(block);
  } else if (!it.held) {
    it.where = place::blank;
    state.blank.push_back(block);
  }
}

/// A table whose entries have left their sequence: the tail goes first, and the head is saved first.
void naive_store::drop(std::size_t group, std::vector<block_id> table) {
  for (auto block = table.rbegin(); block != table.rend(); ++block)
    if (*block != no_block && groups_[group].blocks[*block].where == place::owned)
      settle(group, *block);
  if (!options_.tier.enabled)
    return;
  for (auto block : table) {
    if (block == no_block)
      continue;
    const auto& it = groups_[group].blocks[block];
    const place_in_group at{group, block};
    if (it.where == place::cached && !transfers_.contains(at) && !tier.contains(in_tier(group, *it.name)) &&
        std::find(offers_.begin(), offers_.end(), at) == offers_.end())
      offers_.push_back(at);
  }
}

/// Who comes first has the name.
void naive_store::name_or_copy(std::size_t group, block_id block, const std::string& name) {
  if (groups_[group].index.emplace(name, block).second)
    groups_[group].blocks[block].name = name;
  else if (references(group, block) > 0)
    groups_[group].copies.emplace_back(name, block);
}

void naive_store::give_up(sequence_state& who) {
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    auto table = std::move(who.tables[group]);
    who.tables[group].clear();
    drop(group, std::move(table));
  }
}

void naive_store::take(std::size_t group, block_id block) {
  groups_[group].lru.remove(block);
  groups_[group].blocks[block].where = place::owned;
}

void naive_store::fill(sequence_state& who, const kv_operation& operation, const kv_report& report) {
  const auto end = who.filled + operation.count;
  std::size_t next = operation.offset;
  while (who.tokens.size() < end)
    who.tokens.push_back(report.tokens[next++]);
  for (++who.filled; who.filled <= end; ++who.filled) {
    if (who.filled % tokens_per_block != 0 || !who.cacheable)
      continue;
    const auto blocks = who.filled / tokens_per_block;
    const auto name = name_of(who, blocks);
    for (std::size_t group = 0; group < groups_.size(); ++group) {
      const auto block = who.tables[group][blocks - 1];
      if (block != no_block)
        name_or_copy(group, block, name);
    }
  }
  who.filled = end;
}

kv_grant naive_store::apply(const kv_report& report) {
  using kind = kv_operation::kind_type;
  if (report.reset) {
    generation_ = report.generation;
    sequences_.clear();
    hits_.clear();
    offers_.clear();
    for (auto& [block, transfer] : transfers_)
      transfer.current = transfer.shareable = false;
    for (auto& group : groups_) {
      group.index.clear();
      group.copies.clear();
      group.blank.clear();
      group.lru.clear();
      for (block_id block = 0; block < group.blocks.size(); ++block) {
        auto& it = group.blocks[block];
        it.name.reset();
        it.where = it.held ? place::owned : place::blank;
        if (!it.held)
          group.blank.push_back(block);
      }
    }
  }
  for (const auto& operation : report.operations) {
    const auto g = operation.group;
    switch (operation.kind) {
    case kind::spend:
      for (std::uint32_t i = 0; i < operation.count; ++i) {
        take(g, report.blocks[operation.offset + i]);
        sequences_.at(operation.sequence).tables[g].push_back(report.blocks[operation.offset + i]);
      }
      break;
    case kind::fill:
      fill(sequences_.at(operation.sequence), operation, report);
      break;
    case kind::fork: {
      const auto parent = sequences_.at(operation.other);
      if (!sequences_.contains(operation.sequence)) {
        auto& child = sequences_[operation.sequence];
        child = parent;
        child.tokens.resize(operation.count * tokens_per_block);
        for (auto& table : child.tables)
          table.clear();
      }
      auto& child = sequences_.at(operation.sequence);
      child.cacheable = child.cacheable && parent.cacheable;
      child.filled = operation.count * tokens_per_block;
      child.tables[g].assign(parent.tables[g].begin(), parent.tables[g].begin() + operation.count);
      break;
    }
    case kind::drop_front:
      for (std::uint32_t i = 0; i < operation.count; ++i)
        if (auto& entry = sequences_.at(operation.sequence).tables[g][i]; entry != no_block) {
          const auto block = std::exchange(entry, no_block);
          settle(g, block);
        }
      break;
    case kind::release:
      if (auto found = sequences_.find(operation.sequence); found != sequences_.end()) {
        std::erase_if(hits_, [&](const kv_hit& hit) { return hit.sequence == operation.sequence; });
        give_up(found->second);
        sequences_.erase(found);
      }
      break;
    case kind::take_back:
      for (std::uint32_t i = 0; i < operation.count; ++i) {
        const auto block = report.blocks[operation.offset + i];
        groups_[g].blocks[block].where = place::blank;
        groups_[g].blank.push_back(block);
      }
      break;
    }
  }
  kv_grant grant;
  grant.generation = generation_;
  for (const auto& wanted : report.lookups)
    if (auto hit = look_up(wanted))
      grant.hits.push_back(std::move(*hit));
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    grant.blocks.emplace_back();
    while (counts()[group].leased < report.purse_targets[group] && leasable(group) > 0)
      grant.blocks[group].push_back(lease(group));
    grant.available.push_back(static_cast<std::uint32_t>(leasable(group)));
  }
  return grant;
}

std::vector<naive_store::place_in_group> naive_store::take_saves() {
  std::vector<place_in_group> result;
  for (;;) {
    const auto saving =
      std::count_if(transfers_.begin(), transfers_.end(), [](const auto& entry) { return !entry.second.load; });
    if (offers_.empty() || saving >= static_cast<std::ptrdiff_t>(options_.tier.max_saving))
      return result;
    const auto at = offers_.front();
    offers_.pop_front();
    auto& it = groups_[at.first].blocks[at.second];
    if (tier.contains(in_tier(at.first, *it.name)))
      continue;
    it.held = true;
    transfers_[at] = {*it.name, false};
    result.push_back(at);
  }
}

bool naive_store::saved(place_in_group at, bool ok) {
  const auto transfer = transfers_.at(at);
  transfers_.erase(at);
  auto& it = groups_[at.first].blocks[at.second];
  it.held = false;
  if (it.where != place::cached) // else it keeps its turn
    settle(at.first, at.second);
  if (ok && transfer.current)
    tier.insert(in_tier(at.first, transfer.name));
  return ok && transfer.current;
}

std::vector<naive_store::place_in_group> naive_store::take_loads() {
  return std::exchange(new_loads_, {});
}

void naive_store::loaded(place_in_group at, bool ok) {
  const auto [loaded_group, block] = at;
  auto& state = groups_[loaded_group];
  const auto transfer = transfers_.at(at);
  transfers_.erase(at);
  if (!ok)
    tier.erase(in_tier(loaded_group, transfer.name));
  else if (transfer.current)
    name_or_copy(loaded_group, block, transfer.name);
  state.blocks[block].held = false;
  settle(loaded_group, block);
  std::vector<std::pair<std::uint64_t, sequence_id>> waiting;
  for (const auto& [id, who] : sequences_)
    for (auto [group, position] : who.waits)
      if (group == loaded_group && who.tables[group][position] == block)
        waiting.emplace_back(who.order, id);
  std::sort(waiting.begin(), waiting.end());
  for (auto [order, id] : waiting) {
    auto& who = sequences_.at(id);
    const auto& table = who.tables[loaded_group];
    const auto position = static_cast<std::uint32_t>(std::find(table.begin(), table.end(), block) - table.begin());
    who.waits.erase({loaded_group, position});
    if (!ok)
      who.usable = std::min(who.usable, position);
    if (!who.waits.empty())
      continue;
    auto blocks = who.usable;
    while (!windows_fit(who, blocks))
      --blocks;
    for (std::size_t group = 0; group < groups_.size(); ++group)
      shorten(who, group, blocks);
    who.filled = blocks * tokens_per_block;
    hit_tokens += who.filled;
    hits_.push_back({id, who.filled, who.tables});
  }
}

/// To a prefix of its hit, all of which is there: full groups keep their blocks, windows see others.
void naive_store::shorten(sequence_state& who, std::size_t group, std::uint32_t blocks) {
  auto& table = who.tables[group];
  if (blocks >= table.size())
    return;
  if (groups_[group].options.window != 0)
    return take_table(who, group, blocks);
  std::vector<block_id> tail(table.begin() + blocks, table.end());
  table.resize(blocks);
  drop(group, tail);
}

std::vector<kv_hit> naive_store::take_hits() {
  return std::exchange(hits_, {});
}

void naive_store::reset_prefix_cache() {
  offers_.clear();
  for (auto& [block, transfer] : transfers_)
    transfer.current = transfer.shareable = false;
  for (auto& [id, who] : sequences_)
    who.cacheable = false;
  for (auto& group : groups_) {
    const auto cached = group.lru;
    group.index.clear();
    group.copies.clear();
    group.lru.clear();
    for (auto& it : group.blocks)
      it.name.reset();
    for (auto block : cached) {
      auto& it = group.blocks[block];
      it.where = it.held ? place::owned : place::blank;
      if (!it.held)
        group.blank.push_back(block);
    }
  }
}

std::vector<kv_block_counts> naive_store::counts() const {
  std::vector<kv_block_counts> result;
  for (const auto& group : groups_) {
    kv_block_counts count;
    count.total = static_cast<std::uint32_t>(group.blocks.size());
    for (const auto& it : group.blocks) {
      count.free += it.where == place::blank;
      count.cached += it.where == place::cached;
      count.leased += it.where == place::leased;
      count.owned += it.where == place::owned;
    }
    result.push_back(count);
  }
  return result;
}

} // namespace troupe
