// The blocks of one group: who has which, and which goes next. It knows nothing of sequences; the store
// (engine/kv/store.hpp) does, and calls it.
//
// Owner: the KV-cache manager; one thread. Every operation but resets is O(1) and allocates nothing, though a lease
// passes over the blocks that are held and whose turn it would be. Every block is in exactly one place:
//   blank    nobody's, and its content is worth nothing
//   cached   nobody's, but its content has a name in the prefix index: given away only when no block is blank, the
//            least recently released first
//   leased   in the scheduler's purse: granted in bulk, to be spent without asking
//   owned    in one table or several (so many references), with a name or without; or only held
// A block that a tier reads or writes is held: whatever its place, it is not given away before that has ended. A
// cached one keeps its turn meanwhile: that it was saved does not make it used.
// A block without references and without a hold has a name if and only if it is cached.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/kv/block_hash.hpp"
#include "engine/kv/block_list.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// `free` are blank. They add up to `total`.
struct kv_block_counts {
  std::uint32_t total = 0, free = 0, cached = 0, leased = 0, owned = 0;
  bool operator==(const kv_block_counts&) const = default;
};

class kv_block_pool {
public:
  explicit kv_block_pool(std::uint32_t blocks);

  struct taken {
    block_id block = no_block; ///< None is left.
    bool evicted = false;      ///< It was cached under `hash_of(block)`, which must leave the index now.
  };
  /// blank or cached -> leased.
  taken lease();

  /// leased -> blank.
  void take_back(block_id block);

  /// leased -> owned, with one reference.
  void spend(block_id block);

  /// cached or owned -> owned, with one reference more.
  void add_reference(block_id block);

  /// One reference less; with the last one, owned -> cached or blank.
  void drop_reference(block_id block);

  /// An owned block's content has this name from now on, and the index knows it.
  void name(block_id block, const block_hash& hash);

  /// An owned block's content is that of a block with this name; it has none itself.
  void remember(block_id block, const block_hash& hash) { records_[block].hash = hash; }

  /// The index has forgotten all names: cached blocks become blank, in the order in which they would have been
  /// leased. Linear in the blocks.
  void forget_names();

  /// A transfer from or to an owned or cached block begins, and ends.
  void hold(block_id block);
  void end_hold(block_id block);

  /// The content of all blocks is gone, and nobody has any: all are blank, but for those that are held.
  void reset();

  std::uint32_t size() const { return static_cast<std::uint32_t>(records_.size()); }
  bool is_leased(block_id block) const { return block < size() && records_[block].place == place_type::leased; }
  bool is_cached(block_id block) const { return records_[block].place == place_type::cached; }
  bool has_name(block_id block) const { return records_[block].named; }
  std::uint32_t references(block_id block) const { return records_[block].references; }
  bool is_held(block_id block) const { return records_[block].held; }
  /// Whether `lease` could give it away, were it the last.
  bool is_evictable(block_id block) const { return lru_.contains(block) && !records_[block].held; }
  const block_hash& hash_of(block_id block) const { return records_[block].hash; }

  /// Those with a name that nobody has, the first to go first.
  std::vector<block_id> cached() const { return lru_.all(); }

  /// How many `lease` can give.
  std::uint32_t available() const { return blank_.size() + lru_.size() - held_in_lru_; }
  kv_block_counts counts() const;

  /// Counts every block again, given how often each is in a table.
  expected<void> check_integrity(std::span<const std::uint32_t> references) const;

private:
  enum class place_type : std::uint8_t { blank, cached, leased, owned };
  struct record {
    std::uint32_t references = 0;
    place_type place = place_type::blank;
    bool named = false;
    bool held = false;
    block_hash hash; ///< Its last name, or what was remembered.
  };

  /// Puts a block where it belongs that has no references.
  void settle(block_id block);

  std::vector<record> records_;
  block_list blank_; ///< Least recently released first, too.
  block_list lru_;   ///< Cached.
  std::uint32_t held_in_lru_ = 0, leased_ = 0;
};

} // namespace troupe
