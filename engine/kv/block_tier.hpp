// A place beside the device's memory where the contents of full blocks are kept: host memory, a disk.
//
// A tier is a cache of a cache. Whatever goes wrong in it costs a recomputation and never a request: what it cannot
// give is a miss, what it cannot take is not kept. It holds a limited number of bytes and gives up what was used
// longest ago. Blocks are named by their hash (engine/kv/block_hash.hpp), so one that is saved twice is the same.
//
// Owner: one actor (actors/block_tier.hpp); one thread. Its calls may block on a disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
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

  /// "memory", "disk".
  virtual std::string_view name() const = 0;

  /// What can be loaded, the least recently used first.
  virtual std::vector<block_hash> list() const = 0;

  virtual bool contains(const block_hash& hash) const = 0;

  /// Keeps a block. One that is larger than the whole tier is not kept.
  virtual tier_saved save(const block_hash& hash, const shared_bytes& bytes) = 0;

  /// Errors: not_found. It is not there (any more), or was damaged, and then it is not there from now on.
  virtual expected<shared_bytes> load(const block_hash& hash) = 0;

  virtual void drop(const block_hash& hash) = 0;

  virtual tier_counts counts() const = 0;

  /// Counts all again. An error names what does not add up.
  virtual expected<void> check_integrity() const = 0;
};

// Several blocks at once are given in the order of their chain, and served from the last to the first: the head must
// be evicted last, since more sequences share it, and without it the others are worth nothing.

tier_saves save_all(block_tier& tier, std::span<const tier_block> blocks);

/// In the order of the hashes; null for one that is not there.
std::vector<shared_bytes> load_all(block_tier& tier, std::span<const block_hash> hashes);

} // namespace troupe
