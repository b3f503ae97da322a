// What the store knows of a tier behind the KV memory (host memory, a disk): which names it has, which blocks wait to
// be copied there, and which transfers run. State only; whoever owns the tier asks for work, does it, and says how it
// went. Blocks of all groups are in one row here: those of the first group come first.
//
// Owner: the KV-cache manager; one thread. Everything is bounded: offers by the blocks there are, transfers and names
// by the options.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/kv/block_hash.hpp"
#include "engine/kv/block_list.hpp"

namespace troupe {

struct kv_tier_options {
  bool enabled = false;
  std::uint32_t max_saving = 64;          ///< Blocks held for writing at once.
  std::uint32_t max_loading = 256;        ///< Blocks reserved for reading at once, for all sequences together.
  std::uint32_t max_hashes = 1024 * 1024; ///< Names in the tier; no more are believed.
  std::uint32_t max_uses = 4096;          ///< Names that wait to be told to it as used; others are not told.
};

/// What a block of a group is called in a tier: groups have different contents under one hash.
inline block_hash tier_name(kv_group group, block_hash hash) {
  hash.words[3] ^= group;
  return hash;
}

/// Copy this block's content to the tier under this name. It does not change before `saved`.
struct kv_save {
  kv_group group = 0;
  block_id block = 0;
  block_hash hash;                    ///< Its name in the tier.
  std::optional<block_hash> parent{}; ///< That of the block before it; none: it is the first.
};

/// Copy the content of this name from the tier to this block. Nobody else has it before `loaded`.
struct kv_load {
  sequence_id sequence = 0; ///< The first that wants it.
  kv_group group = 0;
  block_id block = 0;
  block_hash hash; ///< Its name in the tier.
};

struct kv_tier_statistics {
  std::uint64_t saves = 0, saves_failed = 0;
  std::uint64_t saves_given_up = 0; ///< Their blocks were needed first.
  std::uint64_t loads = 0, loads_failed = 0;
};

class kv_tier_state {
public:
  /// Who waits for a load: an account, and which block of its table it is.
  struct waiter {
    std::uint32_t account = 0, position = 0;
  };
  struct load_state {
    block_hash hash;                  ///< Not its name in the tier,
    block_hash name;                  ///< which is this.
    std::optional<block_hash> parent;
    std::array<token_id, tokens_per_block> tokens{};
    prefix_key key;
    std::uint32_t epoch = 0; ///< Of the cache when it began.
    std::vector<waiter> waiters;
  };

  kv_tier_state(const kv_tier_options& options, std::uint32_t blocks) : options_(options), offers_(blocks) {}

  bool enabled() const { return options_.enabled; }
  bool contains(const block_hash& hash) const { return hashes_.contains(hash); }
  /// False: there are too many names.
  bool insert(const block_hash& hash);
  void erase(const block_hash& hash) { hashes_.erase(hash); }

  /// A block that is worth saving; twice is once.
  void offer(block_id block);
  /// It is given to somebody else.
  void give_up(block_id block);
  void give_up_all();
  /// The next to be saved, if another save may run.
  block_id take_offer();
  std::vector<block_id> offers() const { return offers_.all(); }
  bool has_saves() const { return offers_.size() > 0 || !saving_.empty(); }

  void begin_save(block_id block, const block_hash& hash, std::uint32_t epoch);
  struct save_state {
    block_hash hash;
    std::uint32_t epoch = 0;
  };
  /// The save of a block, which has ended; none if there was none.
  std::optional<save_state> end_save(block_id block);

  /// A name that was used without a load; nothing where there are too many.
  void used(const block_hash& name) {
    if (uses_.size() < options_.max_uses && contains(name))
      uses_.push_back(name);
  }
  std::vector<block_hash> take_uses() { return std::exchange(uses_, {}); }

  /// So many more loads may begin.
  std::uint32_t loads_left() const;
  /// The block into which the content of this name is being loaded, or `no_block`.
  block_id loading(const block_hash& hash) const;
  load_state& begin_load(block_id block, load_state load);
  load_state* find_load(block_id block);
  /// None if there was none.
  std::optional<load_state> end_load(block_id block);
  /// An account goes away; it waits for loads no more.
  void forget_waiter(std::uint32_t account);
  void forget_all_waiters();
  /// Loads that run serve those who wait for them already, and nobody else.
  void stop_sharing_loads() { blocks_loading_.clear(); }

  bool is_saving(block_id block) const { return saving_.contains(block); }
  bool is_loading(block_id block) const { return loads_.contains(block); }

  template <class Visit> // void(block_id, const load_state&)
  void for_each_load(Visit visit) const {
    for (const auto& [block, load] : loads_)
      visit(block, load);
  }

  kv_tier_statistics statistics;

private:
  kv_tier_options options_;
  std::unordered_set<block_hash, block_hash_hasher> hashes_;
  block_list offers_;
  std::vector<block_hash> uses_;
  std::unordered_map<block_id, save_state> saving_;
  std::unordered_map<block_id, load_state> loads_;
  std::unordered_map<block_hash, block_id, block_hash_hasher> blocks_loading_;
};

} // namespace troupe
