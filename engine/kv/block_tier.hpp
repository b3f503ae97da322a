// A place beside the device's memory where the contents of full blocks are kept: host memory, a disk.
//
// A tier is a cache of a cache. Whatever goes wrong in it costs a recomputation and never a request: what it cannot
// give is a miss, what it cannot take is not kept. It holds a limited number of bytes and gives up what was used
// longest ago. Blocks are named by their hash (engine/kv/block_hash.hpp), so one that is saved twice is the same.
//
// A chain is given up from its tail: without its head the rest is worth nothing, and more sequences share the head.
// So a block is saved just under the one before it, and not at all if that one would have to go for it.
//
// Owner: one actor (actors/kv_tier.hpp); one thread. Its calls may block on a disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kv/block_hash.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// A block's contents, shared by all who look at them.
using shared_bytes = std::shared_ptr<const std::vector<std::byte>>;

struct tier_block {
  block_hash hash;
  shared_bytes bytes;
  std::optional<block_hash> parent{}; ///< The one before it in its chain; none: it is the first.
};

struct tier_saved {
  bool saved = false;              ///< It is there now, or was before.
  std::vector<block_hash> evicted; ///< No longer there.
  std::optional<error> problem;    ///< Why the tier has stopped saving; said once.
};

/// What became of several blocks.
struct tier_saves {
  std::vector<bool> saved;         ///< For each of them; nevertheless it may be among the evicted.
  std::vector<block_hash> evicted; ///< No longer there.
  std::optional<error> problem;    ///< Why the tier has stopped saving; said once.
};

struct tier_counts {
  std::string name;                                                          ///< Of the tier.
  std::uint64_t blocks = 0;                                                  ///< What `list` has.
  std::uint64_t bytes = 0;                                                   ///< On a disk those of the whole folder.
  std::uint64_t capacity = 0;                                                ///< Bytes.
  std::uint64_t saved = 0, loaded = 0, missed = 0, evicted = 0, damaged = 0; ///< Since the start.
  bool accepts = true;                                                       ///< False: it has stopped saving.
  bool operator==(const tier_counts&) const = default;
};

class block_tier {
public:
  virtual ~block_tier() = default;

  /// "host", "disk".
  virtual std::string_view name() const = 0;

  /// What can be loaded, the least recently used first.
  virtual std::vector<block_hash> list() const = 0;

  virtual bool contains(const block_hash& hash) const = 0;

  /// Keeps a block, used as recently as its parent, if that is there. One for which its parent would have to go, or
  /// that is larger than the whole tier, is not kept.
  virtual tier_saved save(const tier_block& block) = 0;

  /// Errors: not_found. It is not there (any more), or was damaged, and then it is not there from now on.
  virtual expected<shared_bytes> load(const block_hash& hash) = 0;

  /// It was used where it did not have to be loaded.
  virtual void use(const block_hash& hash) = 0;

  virtual void drop(const block_hash& hash) = 0;

  virtual tier_counts counts() const = 0;

  /// Where it consists of several, the first that is asked first.
  virtual std::vector<tier_counts> layers() const { return {counts()}; }

  /// Counts all again. An error names what does not add up.
  virtual expected<void> check_integrity() const = 0;
};

// Several blocks at once are given in the order of their chain.

tier_saves save_all(block_tier& tier, std::span<const tier_block> blocks);

/// The head is used last.
void use_all(block_tier& tier, std::span<const block_hash> hashes);

/// In the order of the hashes; null for one that is not there. The head is loaded last.
std::vector<shared_bytes> load_all(block_tier& tier, std::span<const block_hash> hashes);

} // namespace troupe
