// RoPE, and the writing of keys and values to the paged cache, in one pass over what the projections gave.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/kernels/kv_layout.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

/// Rotates pairs of each head of queries and keys by the row's position, and puts keys and values where they belong.
/// A block a row; each thread takes pairs of elements.
struct rope_store {
  static constexpr const char* name = "rope_store";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    global<const float> query;  ///< [rows, heads, head size]
    global<const float> key;    ///< [rows, kv heads, head size]
    global<const float> value;  ///< [rows, kv heads, head size]
    global<bf16> rotated;       ///< [rows, heads, head size]
    global<bf16> cache;         ///< One layer's; see kv_layout.hpp.
    global<const float> angles; ///< [context, rotated size / 2, 2]: cosine and sine, of the host's double arithmetic.
    global<const std::uint32_t> positions; ///< [rows]
    global<const std::uint32_t> blocks;    ///< [rows]: the block that the row's position is in.
    std::uint32_t heads;
    std::uint32_t rotated_size; ///< Elements at the start of each head; even.
    kv_layout layout;
    std::uint32_t halves; ///< 0: pairs (2i, 2i + 1); 1: pairs (i, i + rotated size / 2).
  };

  static constexpr grid_shape grid(std::uint32_t rows) { return {{rows}, max_threads, 0}; }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto row = static_cast<std::size_t>(block_index().x);
    const auto position = a.positions.load(row);
    const auto block = a.blocks.load(row);
    const auto pairs = a.layout.head_size / 2;
    const auto kv_heads = a.layout.kv_heads;
    for (auto i = thread_index(); i < (a.heads + 2 * kv_heads) * pairs; i += thread_count()) {
      const auto head = i / pairs, pair = i % pairs;
      const bool turns = pair < a.rotated_size / 2;
      const auto first = a.halves != 0 && turns ? pair : pair * 2;
      const auto second = a.halves != 0 && turns ? pair + a.rotated_size / 2 : first + 1;
      if (head >= a.heads + kv_heads) {
        const auto own = head - a.heads - kv_heads;
        const auto from = (row * kv_heads + own) * a.layout.head_size, to = a.layout.at(block, own, 1, position);
        a.cache.store(to + first, to_bf16(a.value.load(from + first)));
        a.cache.store(to + second, to_bf16(a.value.load(from + second)));
        continue;
      }
      const bool is_query = head < a.heads;
      const auto own = is_query ? head : head - a.heads;
      const auto source =
        is_query ? a.query + row * a.heads * a.layout.head_size : a.key + row * kv_heads * a.layout.head_size;
      const auto from = own * a.layout.head_size;
      float x = source.load(from + first), y = source.load(from + second);
      if (turns) {
        const auto angle = (static_cast<std::size_t>(position) * (a.rotated_size / 2) + pair) * 2;
        const float c = a.angles.load(angle), s = a.angles.load(angle + 1);
        const float turned = x * c - y * s;
        y = x * s + y * c;
        x = turned;
      }
      const auto to = is_query ? a.rotated + (row * a.heads + own) * a.layout.head_size
                               : a.cache + a.layout.at(block, own, 0, position);
      to.store(first, to_bf16(x));
      to.store(second, to_bf16(y));
    }
  }
};

} // namespace troupe::gpu
