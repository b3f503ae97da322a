// What of a new sequence is cached.
#include "engine/kv/store.hpp"

#include <algorithm>

namespace troupe {

namespace {

/// So many hashes are made before the first is looked for: the memory answers meanwhile, and a miss wastes few.
constexpr std::uint32_t hashes_ahead = 16;

} // namespace

std::uint32_t kv_store::first_visible(const kv_group_options& group, std::uint32_t blocks) {
  // The row after `blocks` sees itself and the window - 1 tokens before it.
  const auto tokens = std::uint64_t{blocks} * tokens_per_block;
  if (group.window == 0 || tokens + 1 <= group.window)
    return 0;
  return static_cast<std::uint32_t>((tokens + 1 - group.window) / tokens_per_block);
}

expected<void> kv_store::look_up(const kv_lookup& wanted, std::vector<kv_hit>& hits) {
  auto wrong = [&](const char* what) {
    return fail(errc::internal, "The scheduler's lookup of sequence " + std::to_string(wanted.sequence) + what +
                                  "; this is a bug of ours.");
  };
  if (!wanted.tokens || wanted.tokens->empty() || wanted.tokens->size() > std::uint32_t{1} << 30)
    return wrong(" has no tokens, or more than 2^30");
  if (const auto found = by_sequence_.find(wanted.sequence); found != by_sequence_.end()) {
    const auto& who = accounts_[found->second];
    if (who.loading > 0 || who.hit_ready ||
        !std::all_of(who.tables.begin(), who.tables.end(), [](const auto& table) { return table.empty(); }))
      return wrong(" came while it had blocks, or waited for some");
    close_account(found->second); // it had been looked up in vain
  }
  const auto index = open_account(wanted.sequence);
  auto& who = accounts_[index];
  who.tokens = wanted.tokens;
  who.looked_up = true;
  who.cacheable = options_.prefix_caching;
  who.key = wanted.key;
  std::uint32_t blocks = 0;
  if (who.cacheable)
    who.root = hasher_.root(wanted.key.salt, wanted.key.adapter);
  if (who.cacheable && wanted.may_hit) {
    ++statistics_.queries;
    statistics_.query_tokens += who.known();
    // The last token's row must be computed: the next token is sampled from it.
    blocks = find_full_run(who, (who.known() - 1) / tokens_per_block);
    blocks = fit_windows(who, blocks, tier_.enabled() ? source::memory_or_tier : source::memory);
    take_prefix(index, blocks);
  }
  if (who.loading == 0)
    hits.push_back(hit_of(who, blocks));
  return {};
}

void kv_store::hash_until(account& who, std::uint32_t blocks) const {
  for (auto position = static_cast<std::uint32_t>(who.hashes.size()); position < blocks; ++position) {
    const std::span<const token_id, tokens_per_block> tokens(
      who.tokens->data() + std::size_t{position} * tokens_per_block, tokens_per_block);
    who.hashes.push_back(hasher_.next(position == 0 ? who.root : who.hashes[position - 1], tokens));
  }
}

/// How many blocks from the start all groups with full attention have, or can have from the tier; they are in
/// `found`, `no_block` for those that must be loaded. Nothing after the first miss is hashed.
std::uint32_t kv_store::find_full_run(account& who, std::uint32_t limit) {
  bool any = false;
  for (auto& group : groups_) {
    group.found.clear();
    group.claimed = 0;
    any = any || group.options.window == 0;
  }
  if (!any) { // Windows alone may see a prefix whose start is gone.
    hash_until(who, limit);
    return limit;
  }
  std::uint32_t loads = tier_.enabled() ? tier_.loads_left() : 0;
  for (std::uint32_t position = 0; position < limit; ++position) {
    if (position % hashes_ahead == 0) {
      const auto end = std::min(limit, position + hashes_ahead);
      hash_until(who, end);
      for (const auto& group : groups_)
        for (auto i = position; i < end && group.options.window == 0; ++i)
          group.index.prefetch(who.hashes[i]);
    }
    if (!find_block(who, position, loads))
      return position;
  }
  return limit;
}

block_id kv_store::find_or_loading(kv_group group, const block_hash& hash) const {
  const auto block = groups_[group].index.find(hash);
  if (block != no_block || !tier_.enabled())
    return block;
  const auto place = tier_.loading(tier_name(group, hash));
  return place == no_block ? no_block : from_row(place).second;
}

/// `loads` more may begin. A group's `claimed` counts blocks that the hit takes from those that could be leased: what
/// it has, and what it loads into.
bool kv_store::find_block(const account& who, std::uint32_t position, std::uint32_t& loads) {
  const auto& hash = who.hashes[position];
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    auto& group = groups_[i];
    if (group.options.window != 0)
      continue;
    const auto block = find_or_loading(static_cast<kv_group>(i), hash);
    const bool load = block == no_block;
    if (load && (loads == 0 || !tier_.contains(tier_name(static_cast<kv_group>(i), hash))))
      return false;
    loads -= load;
    if (tier_.enabled() && (load || group.pool.is_evictable(block)) && ++group.claimed > group.pool.available())
      return false;
    group.found.push_back(block);
  }
  return true;
}

/// How many loads may begin beside those of a prefix's full groups.
std::uint32_t kv_store::loads_left_after(std::uint32_t blocks) const {
  auto loads = tier_.loads_left();
  for (const auto& group : groups_)
    if (group.options.window == 0)
      loads -= static_cast<std::uint32_t>(
        std::count(group.found.begin(), group.found.begin() + std::ptrdiff_t{blocks}, no_block));
  return loads;
}

/// The longest prefix of at most so many blocks that rows after it can be computed on, as far as windows are
/// concerned. What the groups with full attention have of it is in `found`.
std::uint32_t kv_store::fit_windows(const account& who, std::uint32_t blocks, source from) const {
  if (std::ranges::all_of(groups_, [](const group_state& group) { return group.options.window == 0; }))
    return blocks;
  for (;;) {
    const auto wanted = blocks;
    std::uint32_t loads = from == source::memory_or_tier ? loads_left_after(blocks) : 0;
    for (std::size_t i = 0; i < groups_.size() && blocks == wanted; ++i)
      if (groups_[i].options.window != 0)
        blocks = fit_window(who, static_cast<kv_group>(i), blocks, from, loads);
    if (blocks == wanted)
      return blocks;
  }
}

/// As many blocks, if this group has all that rows after them see; otherwise the most that may be tried next.
std::uint32_t kv_store::fit_window(const account& who, kv_group group, std::uint32_t blocks, source from,
                                   std::uint32_t& loads) const {
  const auto& state = groups_[group];
  std::uint32_t claimed = 0;
  for (auto position = blocks; position > first_visible(state.options, blocks); --position) {
    const auto& hash = who.hashes[position - 1];
    const auto block = from == source::memory ? state.index.find(hash) : find_or_loading(group, hash);
    const bool load = block == no_block;
    // A missing block rules out all prefixes that end after it and that would be seen with it: go on before it.
    if (load && (from == source::memory || !tier_.contains(tier_name(group, hash))))
      return position - 1;
    if (load && loads == 0)
      return blocks - 1;
    loads -= load;
    if (from == source::memory_or_tier && (load || state.pool.is_evictable(block)) &&
        ++claimed > state.pool.available())
      return blocks - 1;
  }
  return blocks;
}

void kv_store::take_prefix(std::uint32_t index, std::uint32_t blocks) {
  auto& who = accounts_[index];
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    auto& group = groups_[i];
    if (group.options.window != 0) {
      take_window(who, static_cast<kv_group>(i), blocks);
      continue;
    }
    who.tables[i].assign(group.found.begin(), group.found.begin() + blocks);
    for (auto block : who.tables[i])
      if (block != no_block)
        group.pool.add_reference(block);
  }
  if (tier_.enabled())
    begin_loads(index);
}

void kv_store::take_window(account& who, kv_group group, std::uint32_t blocks) {
  auto& state = groups_[group];
  const auto first = first_visible(state.options, blocks);
  auto& table = who.tables[group];
  table.assign(blocks, no_block);
  who.dropped[group] = first;
  for (auto position = first; position < blocks; ++position) {
    table[position] = find_or_loading(group, who.hashes[position]);
    if (table[position] != no_block) // else it is loaded
      state.pool.add_reference(table[position]);
  }
}

kv_hit kv_store::hit_of(account& who, std::uint32_t blocks) {
  who.filled = blocks * tokens_per_block;
  statistics_.hit_tokens += who.filled;
  return {who.sequence, who.filled, who.tables};
}

} // namespace troupe
