// What the scheduler and the KV-cache manager say to each other: at most one report is on its way, and one grant
// answers it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/step.hpp"

namespace troupe {

/// What keeps prefixes apart whose tokens are the same.
struct prefix_key {
  std::string salt;
  std::uint64_t adapter = 0;
  bool operator==(const prefix_key&) const = default;
};

/// One thing that the scheduler has done with blocks. A report has them in the order in which they happened, and the
/// manager repeats them in that order.
struct kv_operation {
  enum class kind_type : std::uint8_t {
    spend,      ///< `count` leased blocks (`report.blocks`, from `offset`) were appended to the group's table.
    fill,       ///< Its next `count` tokens have been computed, in all groups. Those that its lookup did not have are
                ///< `report.tokens` from `offset`.
    fork,       ///< It got the first `count` entries of the table that `other` has in this group, and shares them:
                ///< full blocks that `other` has computed. Its own table was empty; its computed tokens are those
                ///< of `count` blocks then. If it had no lookup, all tokens after them come with `fill`.
    drop_front, ///< The first `count` entries of the table, those dropped before included, have left the window.
    release,    ///< It has given up all its blocks, or its lookup; fine if it has none. Before it gets blocks
                ///< again, it must be looked up again.
    take_back,  ///< `count` leased blocks (`report.blocks`, from `offset`) were given up unspent.
  };
  kind_type kind = kind_type::spend;
  kv_group group = 0;
  std::uint32_t count = 0;
  std::uint32_t offset = 0;
  sequence_id sequence = 0;
  sequence_id other = 0;
};

/// A sequence that is about to be admitted: what of it is cached? Its hit blocks are its own from then on. Every
/// sequence is looked up before it gets blocks, after a `reset` again; one that has blocks is released before.
struct kv_lookup {
  sequence_id sequence = 0;
  shared_tokens tokens;
  prefix_key key;
  bool may_hit = true; ///< False: only open the account (its prompt's logprobs must be computed).
};

struct kv_report {
  std::uint32_t generation = 0; ///< From 0; raised by every `reset`. A grant or a hit of an older one is void.
  std::uint64_t epoch = 0;      ///< Whose steps use the blocks; contents are read and written in no other.
  bool reset = false;           ///< Before all else: all KV memory is gone. No sequence has blocks, none is leased.
  std::vector<kv_operation> operations;
  std::vector<block_id> blocks;
  std::vector<token_id> tokens;
  std::vector<kv_lookup> lookups;           ///< After the operations.
  std::vector<std::uint32_t> purse_targets; ///< For each group, or empty: top the leased blocks up, after all else.
};

/// The answer to a lookup: the sequence owns `blocks`, whose KV is that of its first `tokens` tokens.
struct kv_hit {
  sequence_id sequence = 0;
  std::uint32_t tokens = 0; ///< A multiple of `tokens_per_block`, less than the sequence has.
  /// For each group the first tokens / tokens_per_block entries of its table; `no_block` where the window has passed.
  std::vector<std::vector<block_id>> blocks;
};

inline constexpr block_id no_block = 0xffffffffu;

struct kv_grant {
  std::uint32_t generation = 0;
  std::vector<std::vector<block_id>> blocks; ///< For each group: leased from now on.
  std::vector<std::uint32_t> available;      ///< For each group: blocks that could be leased (free or evictable).
  std::vector<kv_hit> hits;                  ///< Of lookups that are decided; the others come later, by themselves.
};

/// One group's share of the KV memory.
struct kv_group_options {
  std::uint32_t blocks = 0;
  std::uint32_t window = 0; ///< Tokens that a row sees, itself included; 0: all before it.
  bool operator==(const kv_group_options&) const = default;
};

} // namespace troupe
