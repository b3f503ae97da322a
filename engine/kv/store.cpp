#include "engine/kv/store.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace troupe {

namespace {

std::string name(const kv_operation& operation) {
  static constexpr const char* names[] = {"spend", "fill", "fork", "drop_front", "release", "take_back"};
  return "The scheduler's " + std::string(names[static_cast<std::size_t>(operation.kind)]) + " for sequence " +
         std::to_string(operation.sequence);
}

tl::unexpected<error> wrong(const kv_operation& operation, const std::string& what) {
  return fail(errc::internal, name(operation) + " " + what + "; this is a bug of ours.");
}

std::uint64_t blocks_of(const std::vector<kv_group_options>& groups) {
  std::uint64_t result = 0;
  for (const auto& group : groups)
    result += group.blocks;
  return result;
}

/// Whether [offset, offset + count) lies in a list.
bool in_list(std::uint32_t offset, std::uint32_t count, std::size_t size) {
  return std::uint64_t{offset} + count <= size;
}

} // namespace

expected<kv_store> kv_store::make(kv_store_options options) {
  if (options.groups.empty() || options.groups.size() > std::numeric_limits<kv_group>::max())
    return fail(errc::invalid_argument, "groups: a KV cache has 1 to 255 groups of layers.");
  for (const auto& group : options.groups)
    if (group.blocks == 0 || group.blocks > 1u << 27)
      return fail(errc::invalid_argument, "groups: a group has 1 to 2^27 blocks.");
  if (options.tier.enabled && !options.prefix_caching)
    return fail(errc::invalid_argument, "tier: a tier needs prefix caching.");
  if (options.tier.enabled && blocks_of(options.groups) > 1u << 30)
    return fail(errc::invalid_argument, "tier: with a tier all groups together have at most 2^30 blocks.");
  if (options.tier.enabled && (options.tier.max_saving == 0 || options.tier.max_loading == 0))
    return fail(errc::invalid_argument, "tier: max_saving and max_loading are at least 1.");
  auto hasher = block_hasher::make(options.hash, options.fingerprint);
  if (!hasher)
    return tl::unexpected(hasher.error());
  return kv_store(std::move(options), std::move(*hasher));
}

kv_store::kv_store(kv_store_options options, block_hasher hasher)
    : options_(std::move(options)), hasher_(std::move(hasher)),
      events_(options_.events ? options_.max_event_blocks : 0),
      tier_(options_.tier, options_.tier.enabled ? static_cast<std::uint32_t>(blocks_of(options_.groups)) : 0) {
  std::uint32_t base = 0;
  for (const auto& group : options_.groups) {
    auto& state = groups_.emplace_back(group);
    state.base = base;
    base += group.blocks;
    if (options_.tier.enabled)
      state.parents.resize(group.blocks);
  }
}

expected<kv_grant> kv_store::apply(const kv_report& report) {
  if (report.reset ? report.generation <= generation_ : report.generation != generation_)
    return fail(errc::internal, "A report of generation " + std::to_string(report.generation) +
                                  " came in generation " + std::to_string(generation_) + "; this is a bug of ours.");
  if (!report.purse_targets.empty() && report.purse_targets.size() != groups_.size())
    return fail(errc::internal, "A report has " + std::to_string(report.purse_targets.size()) + " purses for " +
                                  std::to_string(groups_.size()) + " groups; this is a bug of ours.");
  if (report.reset) {
    reset();
    generation_ = report.generation;
  }
  for (const auto& operation : report.operations)
    if (auto done = repeat(operation, report); !done)
      return tl::unexpected(done.error());
  kv_grant grant;
  grant.generation = generation_;
  for (const auto& wanted : report.lookups)
    if (auto done = look_up(wanted, grant.hits); !done)
      return tl::unexpected(done.error());
  top_up(report, grant);
  return grant;
}

void kv_store::top_up(const kv_report& report, kv_grant& grant) {
  grant.blocks.resize(groups_.size());
  grant.available.resize(groups_.size());
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    auto& pool = groups_[group].pool;
    const auto leased = pool.counts().leased;
    if (!report.purse_targets.empty() && report.purse_targets[group] > leased) {
      const auto count = std::min(report.purse_targets[group] - leased, pool.available());
      grant.blocks[group].resize(count);
      for (auto& block : grant.blocks[group])
        block = lease(static_cast<kv_group>(group));
    }
    grant.available[group] = pool.available();
  }
}

block_id kv_store::lease(kv_group group) {
  auto& state = groups_[group];
  const auto taken = state.pool.lease();
  if (taken.evicted) {
    const auto& hash = state.pool.hash_of(taken.block);
    state.index.erase(hash);
    ++state.statistics.evictions;
    if (!name_a_copy(state, hash))
      events_.removed(group, hash);
    if (tier_.enabled())
      tier_.give_up(in_row(group, taken.block));
  }
  return taken.block;
}

/// The name of a block that was evicted goes to a copy of it, if there is one: then it can be hit as before.
bool kv_store::name_a_copy(group_state& state, const block_hash& hash) {
  const auto found = state.copies.find(hash);
  if (found == state.copies.end())
    return false;
  const auto block = found->second.front();
  found->second.erase(found->second.begin());
  if (found->second.empty())
    state.copies.erase(found);
  state.index.insert(hash, block);
  state.pool.name(block, hash);
  return true;
}

expected<void> kv_store::repeat(const kv_operation& operation, const kv_report& report) {
  using kind = kv_operation::kind_type;
  if (operation.kind != kind::fill && operation.kind != kind::release && operation.group >= groups_.size())
    return wrong(operation, "names group " + std::to_string(operation.group) + ", which there is not");
  switch (operation.kind) {
    case kind::spend: return spend(operation, report);
    case kind::fill: return fill(operation, report);
    case kind::fork: return fork(operation);
    case kind::drop_front: return drop_front(operation);
    case kind::release: release(operation.sequence); return {};
    case kind::take_back: return take_back(operation, report);
  }
  return fail(errc::internal, "A report has an unknown operation; this is a bug of ours.");
}

expected<std::uint32_t> kv_store::ready_account(const kv_operation& operation) const {
  const auto found = by_sequence_.find(operation.sequence);
  if (found == by_sequence_.end())
    return wrong(operation, "came without a lookup before it");
  if (accounts_[found->second].loading > 0)
    return wrong(operation, "came before its lookup had been answered");
  return found->second;
}

expected<void> kv_store::spend(const kv_operation& operation, const kv_report& report) {
  auto who = ready_account(operation);
  if (!who)
    return tl::unexpected(who.error());
  if (!in_list(operation.offset, operation.count, report.blocks.size()))
    return wrong(operation, "names more blocks than its report has");
  auto& pool = groups_[operation.group].pool;
  auto& table = accounts_[*who].tables[operation.group];
  for (std::uint32_t i = 0; i < operation.count; ++i) {
    const auto block = report.blocks[operation.offset + i];
    if (!pool.is_leased(block))
      return wrong(operation, "has block " + std::to_string(block) + ", which it had not been granted");
    pool.spend(block);
    table.push_back(block);
  }
  return {};
}

expected<void> kv_store::take_back(const kv_operation& operation, const kv_report& report) {
  if (!in_list(operation.offset, operation.count, report.blocks.size()))
    return wrong(operation, "names more blocks than its report has");
  auto& pool = groups_[operation.group].pool;
  for (std::uint32_t i = 0; i < operation.count; ++i) {
    const auto block = report.blocks[operation.offset + i];
    if (!pool.is_leased(block))
      return wrong(operation, "has block " + std::to_string(block) + ", which it had not been granted");
    pool.take_back(block);
  }
  return {};
}

expected<void> kv_store::fill(const kv_operation& operation, const kv_report& report) {
  const auto found = ready_account(operation);
  if (!found)
    return tl::unexpected(found.error());
  auto& who = accounts_[*found];
  const auto filled = std::uint64_t{who.filled} + operation.count;
  for (const auto& table : who.tables)
    if (filled > std::uint64_t{table.size()} * tokens_per_block)
      return wrong(operation, "goes to token " + std::to_string(filled) + ", but a table of it has " +
                                std::to_string(table.size()) + " blocks");
  const auto known = who.known();
  const auto given = filled - std::min<std::uint64_t>(filled, std::max(who.filled, known));
  if (operation.offset + given > report.tokens.size())
    return wrong(operation, "needs " + std::to_string(given) + " tokens, which its report does not have");
  const auto* next = report.tokens.data() + operation.offset;
  while (who.filled < filled) {
    const auto position = who.filled / tokens_per_block;
    const auto block_end = (position + 1) * tokens_per_block;
    const auto end = static_cast<std::uint32_t>(std::min<std::uint64_t>(filled, block_end));
    for (auto token = std::max(who.filled, known); token < end; ++token)
      who.partial[token % tokens_per_block] = *next++;
    who.filled = end;
    if (end == block_end)
      block_is_full(who, position);
  }
  return {};
}

void kv_store::block_is_full(account& who, std::uint32_t position) {
  if (!who.cacheable)
    return;
  const auto begin = position * tokens_per_block, known = who.known();
  std::array<token_id, tokens_per_block> tokens = who.partial;
  for (std::uint32_t i = 0; i < tokens_per_block && begin + i < known; ++i)
    tokens[i] = (*who.tokens)[begin + i];
  const auto parent = position == 0 ? who.root : who.hashes[position - 1];
  if (who.hashes.size() <= position)
    who.hashes.push_back(hasher_.next(parent, tokens));
  for (std::size_t group = 0; group < groups_.size(); ++group)
    if (const auto block = who.tables[group][position]; block != no_block)
      store(static_cast<kv_group>(group), block, who.hashes[position],
            position == 0 ? std::nullopt : std::optional(parent), tokens, who.key);
}

void kv_store::store(kv_group group, block_id block, const block_hash& hash, std::optional<block_hash> parent,
                     std::span<const token_id> tokens, const prefix_key& key) {
  auto& state = groups_[group];
  if (tier_.enabled())
    state.parents[block] = parent;
  if (!state.index.insert(hash, block)) { // somebody was first
    if (state.pool.references(block) > 0) {
      state.pool.remember(block, hash);
      state.copies[hash].push_back(block);
    }
    return;
  }
  state.pool.name(block, hash);
  ++state.statistics.blocks_stored;
  events_.stored(group, hash, parent, tokens, key);
}

/// A copy that nobody has any more is none.
void kv_store::drop_reference(group_state& state, block_id block) {
  if (!state.copies.empty() && state.pool.references(block) == 1 && !state.pool.has_name(block))
    if (const auto found = state.copies.find(state.pool.hash_of(block));
        found != state.copies.end() && std::erase(found->second, block) > 0 && found->second.empty())
      state.copies.erase(found);
  state.pool.drop_reference(block);
}

expected<void> kv_store::fork(const kv_operation& operation) {
  const auto parent = by_sequence_.find(operation.other);
  if (parent == by_sequence_.end())
    return wrong(operation, "is from sequence " + std::to_string(operation.other) + ", which has no blocks");
  const auto known = by_sequence_.find(operation.sequence);
  if (known != by_sequence_.end() && accounts_[known->second].loading > 0)
    return wrong(operation, "came before its lookup had been answered");
  const auto parent_index = parent->second; // opening an account moves tables, not accounts' numbers
  const auto index = known != by_sequence_.end() ? known->second : open_account(operation.sequence);
  auto& who = accounts_[index];
  const auto& other = accounts_[parent_index];
  const auto tokens = std::uint64_t{operation.count} * tokens_per_block;
  if (index == parent_index || tokens > other.filled)
    return wrong(operation, "is of " + std::to_string(operation.count) + " blocks, of which sequence " +
                              std::to_string(operation.other) + " has not computed all");
  if (!who.tables[operation.group].empty() || (who.filled != 0 && who.filled != tokens))
    return wrong(operation, "came when it had other blocks");
  if (who.looked_up) {
    const auto compared = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(tokens, other.known()));
    if (who.root != other.root || tokens > who.known() ||
        (compared > 0 && who.tokens != other.tokens &&
         !std::equal(who.tokens->begin(), who.tokens->begin() + compared, other.tokens->begin())))
      return wrong(operation, "is of other tokens than its own");
  } else {
    who.root = other.root;
    who.key = other.key;
  }
  const auto& table = other.tables[operation.group];
  const auto first = first_visible(groups_[operation.group].options, operation.count);
  if (other.dropped[operation.group] > first)
    return wrong(operation, "needs blocks that have left the window of sequence " + std::to_string(operation.other));
  for (std::uint32_t i = 0; i < operation.count; ++i) {
    if (table[i] != no_block)
      groups_[operation.group].pool.add_reference(table[i]);
    who.tables[operation.group].push_back(table[i]);
  }
  who.dropped[operation.group] = std::min(other.dropped[operation.group], operation.count);
  // What is shared may have been computed before names were forgotten.
  who.cacheable = other.cacheable && (!who.looked_up || who.cacheable);
  if (who.cacheable && who.hashes.size() < operation.count)
    who.hashes.assign(other.hashes.begin(), other.hashes.begin() + operation.count);
  who.filled = static_cast<std::uint32_t>(tokens);
  return {};
}

expected<void> kv_store::drop_front(const kv_operation& operation) {
  const auto found = ready_account(operation);
  if (!found)
    return tl::unexpected(found.error());
  auto& state = groups_[operation.group];
  auto& table = accounts_[*found].tables[operation.group];
  auto& dropped = accounts_[*found].dropped[operation.group];
  if (operation.count <= dropped)
    return {};
  // The next row comes after all that the table has room for, at the latest.
  const auto end = std::uint64_t{operation.count} * tokens_per_block;
  if (state.options.window == 0 || end + state.options.window > table.size() * std::uint64_t{tokens_per_block} + 1)
    return wrong(operation, "is of " + std::to_string(operation.count) + " blocks, which rows of it still see");
  for (; dropped < operation.count; ++dropped)
    if (auto& entry = table[dropped]; entry != no_block)
      drop_reference(state, std::exchange(entry, no_block));
  return {};
}

void kv_store::release(sequence_id sequence) {
  const auto found = by_sequence_.find(sequence);
  if (found == by_sequence_.end())
    return; // nothing to give up: it was never admitted, or all was reset
  auto& who = accounts_[found->second];
  if (who.loading > 0)
    tier_.forget_waiter(found->second);
  else if (tier_.enabled())
    tell_uses(who);
  if (who.hit_ready)
    std::erase_if(hits_, [&](const kv_hit& hit) { return hit.sequence == sequence; });
  for (std::size_t group = 0; group < groups_.size(); ++group)
    drop_references(static_cast<kv_group>(group), who.tables[group]);
  close_account(found->second);
}

void kv_store::drop_references(kv_group group, std::span<const block_id> table) {
  auto& state = groups_[group];
  for (auto block = table.rbegin(); block != table.rend(); ++block)
    if (*block != no_block)
      drop_reference(state, *block);
  if (!tier_.enabled())
    return;
  // The head is saved first, as the tail is evicted first: what is saved can be hit.
  for (auto block : table)
    if (block != no_block && state.pool.is_cached(block))
      offer(group, block);
}

std::uint32_t kv_store::open_account(sequence_id sequence) {
  std::uint32_t index;
  if (closed_.empty()) {
    index = static_cast<std::uint32_t>(accounts_.size());
    accounts_.emplace_back().tables.resize(groups_.size());
  } else {
    index = closed_.back();
    closed_.pop_back();
  }
  auto& who = accounts_[index];
  who.sequence = sequence;
  who.open = true;
  who.dropped.assign(groups_.size(), 0);
  by_sequence_.emplace(sequence, index);
  return index;
}

void kv_store::close_account(std::uint32_t index) {
  auto& who = accounts_[index];
  by_sequence_.erase(who.sequence);
  account blank;
  blank.tables = std::move(who.tables);
  blank.hashes = std::move(who.hashes);
  blank.dropped = std::move(who.dropped);
  for (auto& table : blank.tables)
    table.clear();
  blank.hashes.clear();
  who = std::move(blank);
  closed_.push_back(index);
}

} // namespace troupe
