// Attention of many rows of a sequence at once over its paged cache: what came before, and the rows themselves, causally.
//
// Positions are taken in tiles of 64 from the first on, whatever the chunk, so that a row's result does not depend on how its prompt was
// cut. Scores and sums of values are computed by tensor cores; the next tile is on its way while one is computed.
// Source: https://arxiv.org/abs/2307.08691 (FlashAttention-2).
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/kernels/kv_layout.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

/// Up to 64 rows of one sequence and one query head a block: blocks x: tiles of rows, y: heads. Each of four warps has 16 rows.
template <unsigned HeadSize>
struct prefill_attention {
  static_assert(HeadSize % 16 == 0 && HeadSize <= 128);
  static constexpr numbered_name own_name{"prefill_attention", HeadSize};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 128;
  static constexpr unsigned most_rows = 64, positions = 64;
  /// 16 bytes more than a row has, so that eight rows of a matrix lie in different banks.
  static constexpr unsigned stride = HeadSize + 8;
  static constexpr unsigned vectors = HeadSize / 8; ///< Of 16 bytes, in a row.
  static constexpr std::size_t shared_bytes = (most_rows + 4 * positions) * stride * sizeof(bf16);
  static constexpr float masked = -1e30f; ///< Finite, so that differences of two are numbers.

  /// Rows of one sequence that are computed together.
  struct tile {
    std::uint32_t first_row;      ///< In `query` and `attended`.
    std::uint32_t rows;           ///< 1 to 64.
    std::uint32_t first_position; ///< Of the first row, in the sequence.
    std::uint32_t table;          ///< Where the sequence's blocks begin in `tables`.
  };
  struct arguments {
    global<const bf16> query; ///< [rows, heads, head size]
    global<const bf16> cache; ///< One layer's, with these rows' own keys and values; see kv_layout.hpp.
    global<const std::uint32_t> tables;
    global<const std::uint32_t> tiles; ///< [blocks x][4]: `tile`
    global<bf16> attended;             ///< [rows, heads, head size]
    std::uint32_t heads, kv_heads;
    float scale;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto words = a.tiles.template load_as<words4>(block_index().x * 4);
    const tile own{words.at[0], words.at[1], words.at[2], words.at[3]};
    const auto head = block_index().y, kv_head = head / (a.heads / a.kv_heads);
    const auto query = memory.array<bf16>(most_rows * stride);
    const shared<bf16> keys[2] = {memory.array<bf16>(positions * stride), memory.array<bf16>(positions * stride)};
    const shared<bf16> values[2] = {memory.array<bf16>(positions * stride), memory.array<bf16>(positions * stride)};
    const auto end = own.first_position + own.rows;
    const auto tiles = (end + positions - 1) / positions;

    for (auto i = thread_index(); i < most_rows * vectors; i += thread_count())
      fetch(query, i, i / vectors < own.rows, a.query,
            ((static_cast<std::size_t>(own.first_row) + i / vectors) * a.heads + head) * HeadSize);
    fetch_tile(a, own, kv_head, 0, end, keys[0], values[0]);
    commit_copies();

    const auto group = lane() / 4, pair = lane() % 4 * 2;
    fragment_a rows[HeadSize / 16];
    fragment_sums sums[HeadSize / 8] = {};
    float largest[2] = {masked, masked}, weights[2] = {};
    for (std::uint32_t t = 0; t < tiles; ++t) {
      if (t + 1 < tiles)
        fetch_tile(a, own, kv_head, t + 1, end, keys[(t + 1) % 2], values[(t + 1) % 2]);
      commit_copies(); // Nothing, behind the last one.
      wait_copies<1>();
      sync_block();
      if (t == 0)
        for (unsigned k = 0; k < HeadSize / 16; ++k) {
          const auto matrix = load_matrix(query, (warp() * 16 + lane() % 16) * stride + k * 16 + lane() / 16 * 8);
          for (unsigned i = 0; i < 4; ++i)
            rows[k].at[i] = matrix.at[i];
        }

      fragment_sums scores[positions / 8] = {};
      for (unsigned k = 0; k < HeadSize / 16; ++k)
        for (unsigned n = 0; n < positions / 8; n += 2) {
          const auto matrix =
            load_matrix(keys[t % 2], (n * 8 + lane() / 16 * 8 + lane() % 8) * stride + k * 16 + lane() / 8 % 2 * 8);
          multiply_add(scores[n], rows[k], fragment_b{{matrix.at[0], matrix.at[1]}});
          multiply_add(scores[n + 1], rows[k], fragment_b{{matrix.at[2], matrix.at[3]}});
        }

      for (unsigned half = 0; half < 2; ++half) { // Rows group and group + 8.
        const auto position = own.first_position + warp() * 16 + half * 8 + group;
        float most = largest[half];
        for (unsigned n = 0; n < positions / 8; ++n)
          for (unsigned j = 0; j < 2; ++j) {
            float& score = scores[n].at[half * 2 + j];
            score = t * positions + n * 8 + pair + j <= position ? score * a.scale : masked;
            most = score > most ? score : most;
          }
        for (unsigned mask = 1; mask < 4; mask *= 2) {
          const float other = shuffle_xor(most, mask);
          most = other > most ? other : most;
        }
        const float keep = exponential(largest[half] - most);
        largest[half] = most;
        weights[half] *= keep;
        for (unsigned n = 0; n < positions / 8; ++n)
          for (unsigned j = 0; j < 2; ++j) {
            float& score = scores[n].at[half * 2 + j];
            score = exponential(score - most);
            weights[half] += score;
          }
        for (auto& sum : sums)
          for (unsigned j = 0; j < 2; ++j)
            sum.at[half * 2 + j] *= keep;
      }

      for (unsigned k = 0; k < positions / 16; ++k) {
        const auto& low = scores[2 * k].at;
        const auto& high = scores[2 * k + 1].at;
        const fragment_a shares{{pack(to_bf16(low[0]), to_bf16(low[1])), pack(to_bf16(low[2]), to_bf16(low[3])),
                                 pack(to_bf16(high[0]), to_bf16(high[1])), pack(to_bf16(high[2]), to_bf16(high[3]))}};
        for (unsigned n = 0; n < HeadSize / 8; n += 2) {
          const auto matrix = load_matrix_transposed(
            values[t % 2], (k * 16 + lane() / 8 % 2 * 8 + lane() % 8) * stride + n * 8 + lane() / 16 * 8);
          multiply_add(sums[n], shares, fragment_b{{matrix.at[0], matrix.at[1]}});
          multiply_add(sums[n + 1], shares, fragment_b{{matrix.at[2], matrix.at[3]}});
        }
      }
      sync_block(); // Before the tile after the next is written over this one.
    }
    wait_copies<0>();

    for (unsigned half = 0; half < 2; ++half) {
      float all = weights[half];
      for (unsigned mask = 1; mask < 4; mask *= 2)
        all += shuffle_xor(all, mask);
      const auto row = warp() * 16 + half * 8 + group;
      if (row >= own.rows)
        continue;
      const auto to = ((static_cast<std::size_t>(own.first_row) + row) * a.heads + head) * HeadSize + pair;
      for (unsigned n = 0; n < HeadSize / 8; ++n)
        a.attended.store_as(to + n * 8,
                            pack(to_bf16(sums[n].at[half * 2] / all), to_bf16(sums[n].at[half * 2 + 1] / all)));
    }
  }

private:
  /// Vector i of rows of `vectors`, from the row that begins at `row`; zeros where there is none.
  static TROUPE_GPU void fetch(shared<bf16> to, unsigned i, bool is_there, global<const bf16> from, std::size_t row) {
    const auto at = i / vectors * stride + i % vectors * 8;
    if (is_there)
      copy_async(to, at, from, row + i % vectors * 8);
    else
      to.store_as(at, words4{});
  }

  static TROUPE_GPU void fetch_tile(const arguments& a, const tile& own, std::uint32_t kv_head, std::uint32_t t,
                                    std::uint32_t end, shared<bf16> keys, shared<bf16> values) {
    const kv_layout layout{a.kv_heads, HeadSize};
    for (auto i = thread_index(); i < positions * vectors; i += thread_count()) {
      const auto position = t * positions + i / vectors;
      const bool is_there = position < end;
      const std::size_t block = is_there ? a.tables.load(own.table + position / positions_per_block) : 0;
      fetch(keys, i, is_there, a.cache, layout.at(block, kv_head, 0, position));
      fetch(values, i, is_there, a.cache, layout.at(block, kv_head, 1, position));
    }
  }
};

} // namespace troupe::gpu
