// Blocks of the KV cache as bytes: copies within the cache, and to and from one buffer, so that swapping a sequence
// out is one copy to the host. All layers in one launch.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

/// The caches of all layers: equally sized, one after the other.
struct layered_cache {
  global<std::uint8_t> bytes; ///< Of the first layer; aligned to 16 bytes, as are the two below.
  std::uint64_t layer_stride; ///< Bytes from a layer's cache to the next one's.
  std::uint32_t block_bytes;  ///< Of one layer.

  TROUPE_GPU std::size_t at(std::size_t layer, std::size_t block) const {
    return layer * layer_stride + block * block_bytes;
  }
};

inline constexpr unsigned block_copy_threads = 256;
inline constexpr std::uint32_t block_copy_bytes = block_copy_threads * 4 * 16; ///< Of a block of the grid.

/// Blocks x: what is copied, y: layers, z: parts of a cache's block.
constexpr grid_shape block_copy_grid(std::uint32_t count, std::uint32_t layers, std::uint32_t block_bytes) {
  return {{count, layers, (block_bytes + block_copy_bytes - 1) / block_copy_bytes}, block_copy_threads, 0};
}

/// This grid block's part of `bytes`.
TROUPE_GPU void copy_part(global<std::uint8_t> to, std::size_t to_at, global<std::uint8_t> from, std::size_t from_at,
                          std::uint32_t bytes) {
  TROUPE_UNROLL
  for (unsigned i = 0; i < 4; ++i) {
    const auto at = block_index().z * block_copy_bytes + (i * block_copy_threads + thread_index()) * 16;
    if (at < bytes)
      to.store_as(to_at + at, from.template load_as<words4>(from_at + at));
  }
}

/// Each block `to` becomes what `from` is. No block is written that another pair reads or writes: pairs are copied in
/// any order.
struct copy_blocks {
  static constexpr const char* name = "copy_blocks";
  static constexpr unsigned max_threads = block_copy_threads;
  struct arguments {
    layered_cache cache;
    global<const std::uint32_t> pairs; ///< [count][from, to]
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto pair = a.pairs.template load_as<words2>(block_index().x * 2);
    copy_part(a.cache.bytes, a.cache.at(block_index().y, pair.at[1]), a.cache.bytes,
              a.cache.at(block_index().y, pair.at[0]), a.cache.block_bytes);
  }
};

struct staging_arguments {
  layered_cache cache;
  global<const std::uint32_t> blocks; ///< [count]; no block twice.
  global<std::uint8_t> staging;       ///< [count, layers, block bytes]
};

/// Of block `block_index().x` of the list and layer `block_index().y`.
TROUPE_GPU std::size_t staging_at(const staging_arguments& a) {
  return (static_cast<std::size_t>(block_index().x) * block_count().y + block_index().y) * a.cache.block_bytes;
}

/// staging = blocks of all layers, together.
struct gather_blocks {
  static constexpr const char* name = "gather_blocks";
  static constexpr unsigned max_threads = block_copy_threads;
  using arguments = staging_arguments;

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto from = a.cache.at(block_index().y, a.blocks.load(block_index().x));
    copy_part(a.staging, staging_at(a), a.cache.bytes, from, a.cache.block_bytes);
  }
};

/// blocks of all layers = staging
struct scatter_blocks {
  static constexpr const char* name = "scatter_blocks";
  static constexpr unsigned max_threads = block_copy_threads;
  using arguments = staging_arguments;

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto to = a.cache.at(block_index().y, a.blocks.load(block_index().x));
    copy_part(a.cache.bytes, to, a.staging, staging_at(a), a.cache.block_bytes);
  }
};

} // namespace troupe::gpu
