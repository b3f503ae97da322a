// The blocks of one engine's KV memory: who has which.
//
// Owner: the KV-cache manager; one thread. Every block is in exactly one of three places:
//   free     nobody's
//   leased   in the scheduler's purse: granted in bulk, to be spent without asking
//   owned    in a sequence's table
// A block moves free -> leased (`lease`), leased -> owned (`assign`), owned -> free (`release`), and by no other way.
// Wrong moves are bugs of the scheduler; they are refused with a sentence and change nothing.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

struct block_counts {
  std::uint32_t total = 0, free = 0, leased = 0, owned = 0;
  bool operator==(const block_counts&) const = default;
};

class block_pool {
public:
  explicit block_pool(std::uint32_t blocks);

  /// Up to `count` free blocks, least recently released first.
  std::vector<block_id> lease(std::uint32_t count);

  /// Appends leased blocks to a sequence's table.
  expected<void> assign(sequence_id sequence, std::span<const block_id> blocks);

  /// Frees all blocks of a sequence, the tail first. A sequence without blocks is fine.
  void release(sequence_id sequence);

  block_counts counts() const;

  /// Counts every block again. An error names the first block that is not in exactly one place.
  expected<void> check_integrity() const;

private:
  enum class place : std::uint8_t { free, leased, owned };

  std::vector<place> places_;
  std::vector<block_id> free_; ///< A ring would save nothing: `lease` takes from `free_begin_`, which is compacted.
  std::size_t free_begin_ = 0;
  std::uint32_t leased_ = 0;
  std::unordered_map<sequence_id, std::vector<block_id>> tables_;
};

/// What the scheduler tells the manager, once a step: what it spent, what came free, and how large a purse it wants.
struct kv_report {
  std::vector<blocks_appended> assigned;
  std::vector<sequence_id> released;
  std::uint32_t purse_target = 0; ///< Blocks; the manager tops the purse up to it as far as it can.
};

struct kv_grant {
  std::vector<block_id> blocks;
  bool short_of_blocks = false; ///< The purse is under its target: no block is free.
};

/// Applies a report in the order released, assigned, top up. An error is a bug of the scheduler.
expected<kv_grant> apply_report(block_pool& pool, const kv_report& report);

} // namespace troupe
