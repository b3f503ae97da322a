// Where the paged KV cache of one layer has what: [block][kv head][keys, values][position in the block][head size],
// bf16.
//
// So what a block has of one head lies together, and a position's key is a run of 16-byte vectors.
#pragma once

#include "gpu/portable/numbers.hpp"

namespace troupe::gpu {

inline constexpr unsigned positions_per_block = 16; ///< `tokens_per_block` of the engine.

struct kv_layout {
  std::uint32_t kv_heads, head_size;

  /// Of the first element of a key (0) or value (1).
  TROUPE_GPU_BOTH std::size_t at(std::size_t block, std::uint32_t head, unsigned which,
                                 std::uint32_t position) const {
    return (((block * kv_heads + head) * 2 + which) * positions_per_block + position % positions_per_block) *
           head_size;
  }
};

/// The first position that a row at `position` attends to: a window of W (0: none) sees the last W positions, the
/// row's own included.
TROUPE_GPU_BOTH std::uint32_t first_visible(std::uint32_t position, std::uint32_t window) {
  return window != 0 && position >= window ? position + 1 - window : 0;
}

} // namespace troupe::gpu
