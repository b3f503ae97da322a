// All that is true of one engine's KV cache: whose which block is, what its content is called, what can be hit.
//
// Owner: the KV-cache manager; one thread. The scheduler spends blocks without asking (its purse holds leased ones)
// and says in reports what it has done; the store repeats that, and answers with hits and more blocks. What the
// scheduler may not do is refused with a sentence: a bug of ours, after which the engine must be reset, since the
// report has been repeated up to there.
//
// A sequence has an account from its lookup (or its first fork) to its release. A lookup must come before all else,
// also after a `reset`, since it brings the tokens and what they depend on. Its tables grow by hits, forks and
// spends; `fill` says how many tokens have been computed, and every block that is full then is named by its content
// and can be hit, though its sequence still runs. Where two have computed the same, each keeps its own block, and the
// index the first; if that is evicted while the other is still in use, the other gets its name. When the last
// reference goes, a named block stays cached, others become blank; a sequence's tail goes before its head.
//
// A hit is the longest prefix of full blocks, one token at least being left to compute, of which the groups with full
// attention have every block, and those with a window the blocks that rows after it can see.
//
// With a tier, blocks that become unreferenced with their sequence are offered for saving: of groups with a window
// those that it still saw. A lookup whose blocks are partly in the tier waits for loads: its hit comes from
// `take_hits`, after the last of them.
//
// Cost: a report is linear in itself (its operations, the blocks and tokens they name); nothing depends on how many
// sequences or blocks there are. A decode step allocates no more than its grant, and tables that grow.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/kv/block_hash.hpp"
#include "engine/kv/block_pool.hpp"
#include "engine/kv/events.hpp"
#include "engine/kv/messages.hpp"
#include "engine/kv/prefix_index.hpp"
#include "engine/kv/tier.hpp"

namespace troupe {

struct kv_store_options {
  std::vector<kv_group_options> groups; ///< At least one.
  std::string fingerprint;              ///< Of the arithmetic (and the model): KV of another one is never hit.
  block_hash_kind hash = block_hash_kind::xxh128;
  bool prefix_caching = true; ///< False: no block is ever named.
  bool events = false;
  std::uint32_t max_event_blocks = 65536; ///< The event log holds so many blocks between two `take_events`.
  kv_tier_options tier;                   ///< Needs prefix caching.
};

struct kv_group_statistics {
  std::uint64_t blocks_stored = 0; ///< Named, so that they could be hit.
  std::uint64_t evictions = 0;     ///< Cached blocks that were given to somebody else.
};

/// Since the start. A lookup that may not hit is no query.
struct kv_store_statistics {
  std::uint64_t queries = 0, query_tokens = 0, hit_tokens = 0;
  std::uint64_t tier_hit_tokens = 0; ///< Of `hit_tokens`: in blocks that had to be loaded.
  std::vector<kv_group_statistics> groups;
  kv_tier_statistics tier;
};

class kv_store {
public:
  /// Errors: invalid_argument, with the option's name; unavailable (no SHA-256).
  static expected<kv_store> make(kv_store_options options);

  /// Repeats the operations, then looks up, then tops up the purses. Errors: internal, a bug of the scheduler.
  expected<kv_grant> apply(const kv_report& report);

  /// Raised by every report that resets.
  std::uint32_t generation() const { return generation_; }

  /// Nothing that has been computed so far is hit any more: names are forgotten, unreferenced blocks become blank,
  /// and sequences that run now add no names (their KV may be what is to be forgotten). The tier keeps its names.
  void reset_prefix_cache();

  kv_events take_events() { return events_.take(); }

  kv_store_statistics statistics() const;
  std::vector<kv_block_counts> counts() const; ///< By group.
  std::size_t sequences() const { return by_sequence_.size(); }

  /// Counts everything again: references against tables, names against the index, lists against places.
  expected<void> check_integrity() const;

  // The tier, whose names are those of `tier_name`. Every transfer that was taken must be ended, whatever happened to
  // sequences or the cache meanwhile.

  /// The tier has this name now (or had it when the server started); or has it no more. False: it has too many.
  bool tier_has(const block_hash& hash) { return tier_.insert(hash); }
  void tier_lost(const block_hash& hash) { tier_.erase(hash); }
  bool tier_contains(const block_hash& hash) const { return tier_.contains(hash); }

  /// Blocks to be saved from now on; each is held until `saved`. At most `max_saving` are at any time.
  std::vector<kv_save> take_saves();

  /// Offers every named block that the tier lacks, those of sequences that run too: the engine is about to stop.
  void offer_all();

  /// Names that the tier has and that were used without a load: it should give others up first. In the order of their
  /// chains. Not all are told where there are too many.
  std::vector<block_hash> take_uses() { return tier_.take_uses(); }

  /// Whether blocks wait to be saved, or are being saved.
  bool has_saves() const { return tier_.has_saves(); }

  /// A save has ended. The answer: whether the tier has the name now. False if the save failed, if the tier has too
  /// many names, or if the cache was reset meanwhile, so that the copy must be thrown away. Errors: internal (no such
  /// save).
  expected<bool> saved(const kv_save& save, bool ok);

  /// Blocks to be loaded from now on.
  std::vector<kv_load> take_loads();

  /// A load has ended. A failed one shortens the hits that wait for it to the part before it, and the tier counts as
  /// having lost the name. Errors: internal (no such load).
  expected<void> loaded(const kv_load& load, bool ok);

  /// Hits that were waiting for loads and are decided now; of this generation.
  std::vector<kv_hit> take_hits();

private:
  struct account {
    sequence_id sequence = 0;
    std::uint32_t filled = 0; ///< Tokens computed.
    bool open = false;
    bool cacheable = false;  ///< Its full blocks are named.
    bool hit_ready = false;  ///< In `hits_`.
    bool looked_up = false;  ///< Its tokens came with a lookup, not with forks.
    std::uint32_t loading = 0; ///< Loads that it waits for. Until they have ended, nothing else may be done with it.
    std::uint32_t usable = 0;  ///< While loading: blocks of the hit before the first failed one.
    std::uint32_t without_tier = 0; ///< While loading: blocks before the first that had to be loaded.
    shared_tokens tokens;      ///< Of its lookup; later ones come with `fill`.
    prefix_key key;
    block_hash root;
    std::vector<block_hash> hashes; ///< Of its first full blocks; made when needed.
    std::array<token_id, tokens_per_block> partial{}; ///< Of its last block: tokens that the lookup did not have.
    std::vector<std::vector<block_id>> tables;        ///< By group.
    std::vector<std::uint32_t> dropped;               ///< By group: so many entries at the front are `no_block`.
    std::uint32_t known() const { return tokens ? static_cast<std::uint32_t>(tokens->size()) : 0; }
  };
  struct group_state {
    kv_group_options options;
    kv_block_pool pool;
    prefix_index index;
    kv_group_statistics statistics;
    std::uint32_t base = 0; ///< Where its blocks begin in the tier's row.
    /// Blocks with the content of one that has the name, the oldest first. Each is owned.
    std::unordered_map<block_hash, std::vector<block_id>, block_hash_hasher> copies;
    std::vector<std::optional<block_hash>> parents; ///< With a tier: of each block that has or had a name, or is a copy.
    std::vector<block_id> found;                    ///< Scratch of a lookup.
    std::uint32_t claimed = 0;                      ///< The same: of the blocks that could be leased.
    explicit group_state(const kv_group_options& group)
        : options(group), pool(group.blocks), index(group.blocks) {}
  };

  kv_store(kv_store_options options, block_hasher hasher);

  // Operations (store.cpp).
  expected<void> repeat(const kv_operation& operation, const kv_report& report);
  expected<void> spend(const kv_operation& operation, const kv_report& report);
  expected<void> fill(const kv_operation& operation, const kv_report& report);
  expected<void> fork(const kv_operation& operation);
  expected<void> drop_front(const kv_operation& operation);
  expected<void> take_back(const kv_operation& operation, const kv_report& report);
  expected<std::uint32_t> ready_account(const kv_operation& operation) const;
  void release(sequence_id sequence);
  block_id lease(kv_group group);
  void block_is_full(account& who, std::uint32_t position);
  void store(kv_group group, block_id block, const block_hash& hash, std::optional<block_hash> parent,
             std::span<const token_id> tokens, const prefix_key& key);
  void drop_references(kv_group group, std::span<const block_id> table);
  static void drop_reference(group_state& state, block_id block);
  static bool name_a_copy(group_state& state, const block_hash& hash);
  std::uint32_t open_account(sequence_id sequence);
  void close_account(std::uint32_t index);
  void top_up(const kv_report& report, kv_grant& grant);

  // All of it (store_whole.cpp).
  void reset();
  expected<void> check_account(sequence_id sequence, const account& who) const;
  expected<void> check_group(kv_group group) const;
  expected<void> check_transfers() const;

  // Lookups (store_lookup.cpp).
  expected<void> look_up(const kv_lookup& wanted, std::vector<kv_hit>& hits);
  void hash_until(account& who, std::uint32_t blocks) const;
  std::uint32_t find_full_run(account& who, std::uint32_t limit);
  bool find_block(const account& who, std::uint32_t position, std::uint32_t& loads);
  enum class source : std::uint8_t { memory, memory_or_tier };
  std::uint32_t fit_windows(const account& who, std::uint32_t blocks, source from) const;
  std::uint32_t fit_window(const account& who, kv_group group, std::uint32_t blocks, source from,
                           std::uint32_t& loads) const;
  std::uint32_t loads_left_after(std::uint32_t blocks) const;
  block_id find_or_loading(kv_group group, const block_hash& hash) const;
  void take_prefix(std::uint32_t index, std::uint32_t blocks);
  void take_window(account& who, kv_group group, std::uint32_t blocks);
  kv_hit hit_of(account& who, std::uint32_t blocks);
  static std::uint32_t first_visible(const kv_group_options& group, std::uint32_t blocks);

  // Transfers (store_tier.cpp).
  std::uint32_t in_row(kv_group group, block_id block) const { return groups_[group].base + block; }
  std::pair<kv_group, block_id> from_row(std::uint32_t place) const;
  void offer(kv_group group, block_id block);
  void tell_uses(const account& who);
  void begin_loads(std::uint32_t index);
  void begin_loads(std::uint32_t index, kv_group group);
  void finish_loading(std::uint32_t index);

  kv_store_options options_;
  block_hasher hasher_;
  std::vector<group_state> groups_;
  std::vector<account> accounts_; ///< Closed ones are used again, with the memory of their tables.
  std::vector<std::uint32_t> closed_;
  std::unordered_map<sequence_id, std::uint32_t> by_sequence_;
  std::uint32_t generation_ = 0;
  std::uint32_t epoch_ = 0; ///< Raised whenever names are forgotten; transfers from before do not count.
  kv_store_statistics statistics_;
  kv_event_log events_;
  kv_tier_state tier_;
  std::vector<kv_load> new_loads_;
  std::vector<kv_hit> hits_;
};

} // namespace troupe
