// Attention of single rows over a paged cache, in splits of fixed positions, and the pass that combines them.
//
// A split begins at a multiple of `split_positions`, whatever the batch and the device, so that a row's result has the same bits
// in any company. Keys and values are read once for up to four query heads of a group, 16 bytes a lane; a larger group is several
// blocks of the grid.
// Source: https://arxiv.org/abs/2205.14135 (online softmax), https://crfm.stanford.edu/2023/10/12/flashdecoding.html (splits).
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/kernels/kv_layout.hpp"
#include "gpu/portable/eight_floats.hpp"
#include "gpu/portable/sums.hpp"

namespace troupe::gpu {

inline constexpr unsigned split_positions = 256;
constexpr std::uint32_t splits_of(std::uint32_t longest) {
  return (longest + split_positions - 1) / split_positions;
}

/// What a split has found for one query head: the largest score, the sum of the weights relative to it, and the values' weighted sum.
/// Partial results are [rows, heads, splits, 2 + head size].
inline constexpr unsigned partial_extra = 2;
inline constexpr float no_score = -1e30f; ///< Less than any; finite, so that differences of two are numbers.

struct decode_attention_arguments {
  global<const bf16> query;            ///< [rows, heads, head size]
  global<const bf16> cache;            ///< One layer's; see kv_layout.hpp.
  global<const std::uint32_t> table;   ///< [rows, table stride]: blocks of each row's sequence.
  global<const std::uint32_t> lengths; ///< [rows]: positions that a row sees, its own included; 0: the result is 0.
  global<float> parts;
  std::uint32_t heads, kv_heads, table_stride, splits;
  std::uint32_t window; ///< A row sees so many positions, its own and those before it; 0: all.
  float scale;
};

/// One block for each row, up to `Heads` query heads of a group, and split: blocks x: rows, y: such parts of groups, z: splits.
template <unsigned HeadSize, unsigned Heads>
struct decode_attention {
  static_assert(HeadSize == 64 || HeadSize == 128 || HeadSize == 256);
  static constexpr numbered_name own_name{"decode_attention", HeadSize, Heads};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 128;
  static constexpr unsigned lanes_a_position = HeadSize / 8, positions_a_warp = 32 / lanes_a_position;
  static constexpr unsigned warps = max_threads / 32;
  static constexpr std::size_t shared_bytes = warps * Heads * (HeadSize + partial_extra) * sizeof(float);
  using arguments = decode_attention_arguments;

  static constexpr grid_shape grid(std::uint32_t rows, std::uint32_t heads, std::uint32_t kv_heads,
                                   std::uint32_t splits) {
    return {{rows, kv_heads * parts_of(heads / kv_heads), splits}, max_threads, shared_bytes};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto row = static_cast<std::size_t>(block_index().x);
    const auto group = a.heads / a.kv_heads, parts = parts_of(group);
    const auto kv_head = block_index().y / parts, skipped = block_index().y % parts * Heads;
    const auto first_head = kv_head * group + skipped;
    const auto heads = group - skipped < Heads ? group - skipped : Heads;
    const auto length = a.lengths.load(row);
    const auto split = block_index().z * split_positions;
    if (split >= length)
      return; // All threads of the block.
    const auto end = split + split_positions < length ? split + split_positions : length;
    const auto visible = first_visible(length - 1, a.window);
    if (end <= visible)
      return;
    const auto begin = visible > split ? visible : split;
    const kv_layout layout{a.kv_heads, HeadSize};
    const auto part = lane() % lanes_a_position * 8, among = lane() / lanes_a_position;

    eight_floats query[Heads], sum[Heads];
    float largest[Heads], weight[Heads];
    for (unsigned h = 0; h < Heads; ++h) { // Heads that are not there are the last one again, and not written.
      const auto head = first_head + (h < heads ? h : heads - 1);
      query[h] = unpack(a.query.template load_as<words4>((row * a.heads + head) * HeadSize + part));
      for (auto& each : query[h].at)
        each *= a.scale;
      sum[h] = {};
      largest[h] = no_score;
      weight[h] = 0;
    }
    for (auto base = begin + warp() * positions_a_warp; base < end; base += warps * positions_a_warp) {
      const auto position = base + among;
      const bool is_there = position < end;
      eight_floats key{}, value{};
      if (is_there) {
        const std::size_t block = a.table.load(row * a.table_stride + position / positions_per_block);
        key = unpack(a.cache.template load_as<words4>(layout.at(block, kv_head, 0, position) + part));
        value = unpack(a.cache.template load_as<words4>(layout.at(block, kv_head, 1, position) + part));
      }
      for (unsigned h = 0; h < Heads; ++h) {
        float score = 0;
        for (unsigned i = 0; i < 8; ++i)
          score += query[h].at[i] * key.at[i];
        score = group_sum<lanes_a_position>(score);
        if (is_there)
          join(largest[h], weight[h], sum[h], score, 1.0f, value);
      }
    }
    // What the positions of a warp have found, then what the warps have.
    for (unsigned mask = lanes_a_position; mask < 32; mask *= 2)
      for (unsigned h = 0; h < Heads; ++h) {
        eight_floats other;
        for (unsigned i = 0; i < 8; ++i)
          other.at[i] = shuffle_xor(sum[h].at[i], mask);
        const float other_largest = shuffle_xor(largest[h], mask), other_weight = shuffle_xor(weight[h], mask);
        join(largest[h], weight[h], sum[h], other_largest, other_weight, other);
      }
    const auto found = memory.array<float>(warps * Heads * (HeadSize + partial_extra));
    if (among == 0)
      for (unsigned h = 0; h < Heads; ++h) {
        const auto at = (warp() * Heads + h) * (HeadSize + partial_extra);
        if (part == 0) {
          found.store(at, largest[h]);
          found.store(at + 1, weight[h]);
        }
        for (unsigned i = 0; i < 8; ++i)
          found.store(at + partial_extra + part + i, sum[h].at[i]);
      }
    sync_block();
    for (auto i = thread_index(); i < heads * HeadSize; i += thread_count()) {
      const auto h = i / HeadSize, element = i % HeadSize;
      float most = no_score, all = 0, weights = 0;
      for (unsigned w = 0; w < warps; ++w) {
        const auto at = (w * Heads + h) * (HeadSize + partial_extra);
        const float score = found.load(at);
        const float before = most;
        most = score > most ? score : most;
        const float keep = exponential(before - most), take = exponential(score - most);
        weights = weights * keep + found.load(at + 1) * take;
        all = all * keep + found.load(at + partial_extra + element) * take;
      }
      const auto to =
        a.parts + (((row * a.heads + first_head + h) * a.splits + block_index().z) * (HeadSize + partial_extra));
      if (element == 0) {
        to.store(0, most);
        to.store(1, weights);
      }
      to.store(partial_extra + element, all);
    }
  }

private:
  /// Blocks of the grid for one group.
  static constexpr TROUPE_GPU_BOTH unsigned parts_of(unsigned group) { return (group + Heads - 1) / Heads; }

  /// Two findings become one.
  static TROUPE_GPU void join(float& largest, float& weight, eight_floats& sum, float other_largest,
                              float other_weight, const eight_floats& other) {
    const float most = other_largest > largest ? other_largest : largest;
    const float keep = exponential(largest - most), take = exponential(other_largest - most);
    largest = most;
    weight = weight * keep + other_weight * take;
    for (unsigned i = 0; i < 8; ++i)
      sum.at[i] = sum.at[i] * keep + other.at[i] * take;
  }
};

struct combine_splits_arguments {
  global<const float> parts;
  global<const std::uint32_t> lengths; ///< [rows]
  global<bf16> attended;               ///< [rows, heads, head size]
  std::uint32_t heads, splits;
  std::uint32_t window; ///< As in `decode_attention`.
};

/// attended = the splits' sums together. Blocks x: rows, y: heads; a thread for each element of a head.
template <unsigned HeadSize>
struct combine_splits {
  static constexpr numbered_name own_name{"combine_splits", HeadSize};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = HeadSize;
  using arguments = combine_splits_arguments;

  static constexpr grid_shape grid(std::uint32_t rows, std::uint32_t heads) {
    return {{rows, heads}, max_threads, 0};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto row = static_cast<std::size_t>(block_index().x);
    const auto head = row * a.heads + block_index().y;
    const auto length = a.lengths.load(row);
    const auto used = (length + split_positions - 1) / split_positions;
    const auto first = length > 0 ? first_visible(length - 1, a.window) / split_positions : 0;
    const auto from = a.parts + head * a.splits * (HeadSize + partial_extra);
    float most = no_score, weights = 0, all = 0;
    for (auto split = first; split < used; ++split) {
      const auto at = static_cast<std::size_t>(split) * (HeadSize + partial_extra);
      const float score = from.load(at), before = most;
      most = score > most ? score : most;
      const float keep = exponential(before - most), take = exponential(score - most);
      weights = weights * keep + from.load(at + 1) * take;
      all = all * keep + from.load(at + partial_extra + thread_index()) * take;
    }
    a.attended.store(head * HeadSize + thread_index(), to_bf16(weights > 0 ? all / weights : 0.0f));
  }
};

} // namespace troupe::gpu
