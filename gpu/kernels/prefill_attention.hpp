// Attention of many rows of a sequence at once over its paged cache: what came before, and the rows themselves,
// causally.
//
// Positions are taken in tiles of 64 from the first on, whatever the chunk, so that a row's result does not depend on
// how its prompt was cut: what a row does not see adds nothing to it. Scores and sums of values are computed by
// tensor cores; the next tile is on its way while one is computed.
// Source: https://arxiv.org/abs/2307.08691 (FlashAttention-2).
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/kernels/kv_layout.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

/// Rows of one sequence that are computed together.
struct prefill_tile {
  std::uint32_t first_row;      ///< In `query` and `attended`.
  std::uint32_t rows;           ///< 1 to 64.
  std::uint32_t first_position; ///< Of the first row, in the sequence.
  std::uint32_t table;          ///< Where the sequence's blocks begin in `tables`.
};

struct prefill_attention_arguments {
  global<const bf16> query; ///< [rows, heads, head size]
  global<const bf16> cache; ///< One layer's, with these rows' own keys and values; see kv_layout.hpp.
  global<const std::uint32_t> tables;
  global<const std::uint32_t> tiles; ///< [blocks x][4]: `prefill_tile`
  global<bf16> attended;             ///< [rows, heads, head size]
  std::uint32_t heads, kv_heads;
  std::uint32_t window; ///< A row sees so many positions, its own and those before it; 0: all.
  float scale;
};

/// Up to 64 rows of one sequence and one query head a block: blocks x: tiles of rows, y: heads. Each of four warps
/// has 16 rows.
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

  using arguments = prefill_attention_arguments;

  static constexpr grid_shape grid(std::uint32_t tiles, std::uint32_t heads) {
    return {{tiles, heads}, max_threads, shared_bytes};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto words = a.tiles.template load_as<words4>(block_index().x * 4);
    const prefill_tile own{words.at[0], words.at[1], words.at[2], words.at[3]};
    const auto head = block_index().y, kv_head = head / (a.heads / a.kv_heads);
    const auto query = memory.array<bf16>(most_rows * stride);
    constexpr unsigned stage = positions * stride; // One is computed while the other one comes.
    const auto keys = memory.array<bf16>(2 * stage), values = memory.array<bf16>(2 * stage);
    const span seen{first_visible(own.first_position, a.window), own.first_position + own.rows};
    const auto first_tile = seen.begin / positions, tiles = (seen.end + positions - 1) / positions;

    for (auto i = thread_index(); i < most_rows * vectors; i += thread_count())
      fetch(query, i, i / vectors < own.rows, a.query,
            ((static_cast<std::size_t>(own.first_row) + i / vectors) * a.heads + head) * HeadSize);
    fetch_tile(a, own, kv_head, first_tile, seen, keys + first_tile % 2 * stage, values + first_tile % 2 * stage);
    commit_copies();

    running r;
    for (auto t = first_tile; t < tiles; ++t) {
      if (t + 1 < tiles)
        fetch_tile(a, own, kv_head, t + 1, seen, keys + (t + 1) % 2 * stage, values + (t + 1) % 2 * stage);
      commit_copies(); // Nothing, behind the last one.
      wait_copies<1>();
      sync_block();
      if (t == first_tile)
        take_query(r, query);
      fragment_sums scores[positions / 8] = {};
      add_products(scores, r, keys + t % 2 * stage);
      TROUPE_UNROLL
      for (unsigned half = 0; half < 2; ++half)
        make_shares(scores, r, half, own.first_position, t * positions, a.window, a.scale);
      add_values(r, scores, values + t % 2 * stage);
      sync_block(); // Before the tile after the next is written over this one.
    }
    wait_copies<0>();
    write(a, own, head, r);
  }

private:
  /// Positions that any row sees.
  struct span {
    std::uint32_t begin, end;
  };

  /// What a lane knows of the two rows that it has a part of, `lane() / 4` and 8 more, of its warp's 16.
  struct running {
    fragment_a query[HeadSize / 16];
    fragment_sums sums[HeadSize / 8] = {}; ///< Of values, weighted by shares.
    float largest[2] = {masked, masked};   ///< Score so far.
    float weights[2] = {};                 ///< Sum of shares, of this lane's positions.
  };

  static TROUPE_GPU void take_query(running& r, shared<bf16> query) {
    TROUPE_UNROLL
    for (unsigned k = 0; k < HeadSize / 16; ++k) {
      const auto matrix = load_matrix(query, (warp() * 16 + lane() % 16) * stride + k * 16 + lane() / 16 * 8);
      for (unsigned i = 0; i < 4; ++i)
        r.query[k].at[i] = matrix.at[i];
    }
  }

  /// scores += query * transpose(keys)
  static TROUPE_GPU void add_products(fragment_sums (&scores)[positions / 8], const running& r, shared<bf16> keys) {
    TROUPE_UNROLL
    for (unsigned k = 0; k < HeadSize / 16; ++k) {
      TROUPE_UNROLL
      for (unsigned n = 0; n < positions / 8; n += 2) {
        const auto row = n * 8 + lane() / 16 * 8 + lane() % 8;
        const auto matrix = load_matrix(keys, row * stride + k * 16 + lane() / 8 % 2 * 8);
        multiply_add(scores[n], r.query[k], fragment_b{{matrix.at[0], matrix.at[1]}});
        multiply_add(scores[n + 1], r.query[k], fragment_b{{matrix.at[2], matrix.at[3]}});
      }
    }
  }

  /// Scores of a row become shares relative to its largest score so far, to which all that was before is brought, too.
  static TROUPE_GPU void make_shares(fragment_sums (&scores)[positions / 8], running& r, unsigned half,
                                     std::uint32_t first_row_position, std::uint32_t first_position,
                                     std::uint32_t window, float scale) {
    const auto position = first_row_position + warp() * 16 + half * 8 + lane() / 4;
    const auto visible = first_visible(position, window);
    float most = r.largest[half];
    TROUPE_UNROLL
    for (unsigned n = 0; n < positions / 8; ++n) {
      TROUPE_UNROLL
      for (unsigned j = 0; j < 2; ++j) {
        float& score = scores[n].at[half * 2 + j];
        const auto at = first_position + n * 8 + lane() % 4 * 2 + j;
        score = at <= position && at >= visible ? score * scale : masked;
        most = score > most ? score : most;
      }
    }
    for (unsigned mask = 1; mask < 4; mask *= 2) {
      const float other = shuffle_xor(most, mask);
      most = other > most ? other : most;
    }
    const float keep = exponential(r.largest[half] - most);
    r.largest[half] = most;
    r.weights[half] *= keep;
    TROUPE_UNROLL
    for (unsigned n = 0; n < positions / 8; ++n) {
      TROUPE_UNROLL
      for (unsigned j = 0; j < 2; ++j) {
        float& score = scores[n].at[half * 2 + j];
        score = score == masked ? 0.0f : exponential(score - most); // So far all may be masked, and `most`, too.
        r.weights[half] += score;
      }
    }
    TROUPE_UNROLL
    for (auto& sum : r.sums) {
      sum.at[half * 2] *= keep;
      sum.at[half * 2 + 1] *= keep;
    }
  }

  /// The scores' fragments, as brain floats, are the left operand as they lie.
  static TROUPE_GPU void add_values(running& r, const fragment_sums (&shares)[positions / 8], shared<bf16> values) {
    TROUPE_UNROLL
    for (unsigned k = 0; k < positions / 16; ++k) {
      const auto& low = shares[2 * k].at;
      const auto& high = shares[2 * k + 1].at;
      const fragment_a left{{pack(to_bf16(low[0]), to_bf16(low[1])), pack(to_bf16(low[2]), to_bf16(low[3])),
                             pack(to_bf16(high[0]), to_bf16(high[1])), pack(to_bf16(high[2]), to_bf16(high[3]))}};
      TROUPE_UNROLL
      for (unsigned n = 0; n < HeadSize / 8; n += 2) {
        const auto row = k * 16 + lane() / 8 % 2 * 8 + lane() % 8;
        const auto matrix = load_matrix_transposed(values, row * stride + n * 8 + lane() / 16 * 8);
        multiply_add(r.sums[n], left, fragment_b{{matrix.at[0], matrix.at[1]}});
        multiply_add(r.sums[n + 1], left, fragment_b{{matrix.at[2], matrix.at[3]}});
      }
    }
  }

  static TROUPE_GPU void write(const arguments& a, const prefill_tile& own, std::uint32_t head, const running& r) {
    TROUPE_UNROLL
    for (unsigned half = 0; half < 2; ++half) {
      float all = r.weights[half];
      for (unsigned mask = 1; mask < 4; mask *= 2)
        all += shuffle_xor(all, mask);
      const auto row = warp() * 16 + half * 8 + lane() / 4;
      if (row >= own.rows)
        continue;
      const auto to = ((static_cast<std::size_t>(own.first_row) + row) * a.heads + head) * HeadSize + lane() % 4 * 2;
      TROUPE_UNROLL
      for (unsigned n = 0; n < HeadSize / 8; ++n)
        a.attended.store_as(to + n * 8,
                            pack(to_bf16(r.sums[n].at[half * 2] / all), to_bf16(r.sums[n].at[half * 2 + 1] / all)));
    }
  }

  /// Vector i of rows of `vectors`, from the row that begins at `row`; zeros where there is none.
  static TROUPE_GPU void fetch(shared<bf16> to, unsigned i, bool is_there, global<const bf16> from, std::size_t row) {
    const auto at = i / vectors * stride + i % vectors * 8;
    if (is_there)
      copy_async(to, at, from, row + i % vectors * 8);
    else
      to.store_as(at, words4{});
  }

  static TROUPE_GPU void fetch_tile(const arguments& a, const prefill_tile& own, std::uint32_t kv_head,
                                    std::uint32_t t, span seen, shared<bf16> keys, shared<bf16> values) {
    const kv_layout layout{a.kv_heads, HeadSize};
    for (auto i = thread_index(); i < positions * vectors; i += thread_count()) {
      const auto position = t * positions + i / vectors;
      const bool is_there = position >= seen.begin && position < seen.end;
      const std::size_t block = is_there ? a.tables.load(own.table + position / positions_per_block) : 0;
      fetch(keys, i, is_there, a.cache, layout.at(block, kv_head, 0, position));
      fetch(values, i, is_there, a.cache, layout.at(block, kv_head, 1, position));
    }
  }
};

} // namespace troupe::gpu
