// What happened to named blocks, for those who follow a cache from outside (a router that looks for prefixes, say).
//
// Owner: the KV-cache manager, which writes it; one thread. The log is bounded: if nobody takes events, new ones are
// dropped and counted, and whoever follows must be told that there is a gap.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/kv/block_hash.hpp"
#include "engine/kv/messages.hpp"

namespace troupe {

struct kv_event {
  enum class kind_type : std::uint8_t {
    block_stored,  ///< `hashes`, a chain after `parent`, can be hit; `tokens` are theirs.
    block_removed, ///< `hashes` can no longer be hit.
    all_cleared,   ///< Nothing can be hit, in any group.
  };
  kind_type kind = kind_type::block_stored;
  kv_group group = 0;
  std::vector<block_hash> hashes;
  std::optional<block_hash> parent; ///< None: the chain's first block.
  std::vector<token_id> tokens;     ///< `tokens_per_block` for each hash.
  std::uint64_t adapter = 0;
  std::string salt; ///< Of the chain, told with its first block alone.
};

struct kv_events {
  std::vector<kv_event> events;
  std::uint64_t dropped = 0; ///< So many blocks' events after these have been lost.
};

class kv_event_log {
public:
  /// Holds the events of at most so many blocks; 0: is off.
  explicit kv_event_log(std::uint32_t max_blocks) : max_blocks_(max_blocks) {}

  bool is_on() const { return max_blocks_ > 0; }

  /// Consecutive blocks of a chain, and consecutive removals, become one event.
  void stored(kv_group group, const block_hash& hash, std::optional<block_hash> parent,
              std::span<const token_id> tokens, const prefix_key& key);
  void removed(kv_group group, const block_hash& hash);
  void cleared();

  kv_events take();

private:
  bool has_room();

  std::uint32_t max_blocks_;
  std::uint32_t blocks_ = 0;
  kv_events log_;
};

} // namespace troupe
