// Products of some rows with a matrix of any format on tensor cores: too many rows for gpu/kernels/products.hpp, too few to unpack all
// weights first.
#pragma once

#include "gpu/kernels/products.hpp"

namespace troupe::gpu {

/// y[r, n] = sum over k of x[r, k] * bf16(weight[n, k]) (+ bias[n]) (+ what y was), for up to 64 rows at once; weights are read once for
/// all of them.
///
/// A block computes 32 outputs: two warps 16 of them each, from every second run of columns, and two more from the other runs; a run is
/// four chunks, one for each lane of a quad. The order of a sum's terms is free, as long as both operands keep it: so a lane takes its
/// chunk's columns in groups of eight, of which each is its part of two steps of 16 columns, and nothing is exchanged between lanes.
///
/// A row's result has the same bits whatever the other rows are, and however many.
template <class Format>
struct skinny_product {
  static constexpr format_name own_name{"skinny_product", Format::format};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 128;
  static constexpr unsigned most_rows = 64, outputs_a_warp = 16, outputs_a_block = 2 * outputs_a_warp;
  using arguments = product_arguments;

  /// The second pair of warps hands its sums to the first one.
  static constexpr std::size_t shared_bytes = 2 * 32 * most_rows / 2 * sizeof(float);

  static constexpr grid_shape grid(std::uint32_t outputs, std::uint32_t rows) {
    return {{(outputs + outputs_a_block - 1) / outputs_a_block, (rows + most_rows - 1) / most_rows},
            max_threads,
            shared_bytes};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto halves = memory.array<float>(2 * 32 * sums_a_lane);
    const auto first = block_index().x * outputs_a_block + warp() % 2 * outputs_a_warp;
    const auto first_row = block_index().y * most_rows;
    const auto rows = a.rows - first_row < most_rows ? a.rows - first_row : most_rows;
    fragment_sums sums[tiles] = {};
    add_runs(a, first, first_row, rows, sums);
    const auto own = warp() % 2 * 32 * sums_a_lane + lane();
    if (warp() >= 2)
      put(halves, own, sums);
    sync_block();
    if (warp() >= 2)
      return;
    add(halves, own, sums);
    write(a, first, first_row, rows, sums);
  }

private:
  static constexpr unsigned tiles = most_rows / 8, sums_a_lane = tiles * 4; ///< A tile is 8 rows of x.
  static constexpr unsigned groups = Format::columns / 8, groups_a_run = groups / Format::runs;

  /// One lane's part of a run: a chunk of each of two outputs, 8 apart.
  struct two_chunks {
    weight_chunk of[2];
    bool is_there; ///< A row's last run may have fewer than four chunks.
  };

  static TROUPE_GPU two_chunks load(const device_matrix& m, std::uint32_t first, std::uint32_t run) {
    const auto chunks = m.layout.inputs / Format::columns, last = m.layout.outputs - 1, wanted = run * 4 + lane() % 4;
    const auto chunk = wanted < chunks ? wanted : chunks - 1;
    two_chunks out;
    TROUPE_UNROLL
    for (unsigned i = 0; i < 2; ++i) { // Outputs behind the last one are the last one again, and not written.
      const auto n = first + i * 8 + lane() / 4;
      out.of[i] = Format::load(m, n < last ? n : last, chunk);
    }
    out.is_there = wanted < chunks;
    return out;
  }

  /// Eight columns of a chunk as brain floats.
  static TROUPE_GPU words4 weights_of(const weight_chunk& chunk, unsigned group) {
    auto numbers = Format::unpack(chunk, group);
    TROUPE_UNROLL
    for (auto& each : numbers.at) {
      each *= chunk.scale[group / groups_a_run];
      if constexpr (Format::has_minimum)
        each += chunk.minimum;
    }
    return pack(numbers);
  }

  static TROUPE_GPU void add_runs(const arguments& a, std::uint32_t first, std::uint32_t first_row,
                                  std::uint32_t rows, fragment_sums (&sums)[tiles]) {
    const auto inputs = a.matrix.layout.inputs, chunks = inputs / Format::columns, runs = (chunks + 3) / 4;
    const auto x = a.x + static_cast<std::size_t>(first_row) * inputs;
    auto run = warp() / 2;
    if (run >= runs)
      return;
    for (auto chunk = load(a.matrix, first, run); run < runs; run += 2) {
      const auto now = chunk;
      if (run + 2 < runs)
        chunk = load(a.matrix, first, run + 2); // On their way while these are used.
      const auto wanted = run * 4 + lane() % 4;
      const auto column = (wanted < chunks ? wanted : chunks - 1) * Format::columns;
      TROUPE_UNROLL
      for (unsigned group = 0; group < groups; ++group) {
        const auto low = now.is_there ? weights_of(now.of[0], group) : words4{};
        const auto high = now.is_there ? weights_of(now.of[1], group) : words4{};
        TROUPE_UNROLL
        for (unsigned tile = 0; tile < tiles; ++tile) {
          if (tile * 8 >= rows)
            break;                                       // All lanes.
          const auto wanted_row = tile * 8 + lane() / 4; // Rows that are not there are the last one again.
          const auto row = wanted_row < rows ? wanted_row : rows - 1;
          const auto own = x.template load_as<words4>(static_cast<std::size_t>(row) * inputs + column + group * 8);
          TROUPE_UNROLL
          for (unsigned half = 0; half < 2; ++half)
            multiply_add(
              sums[tile],
              fragment_a{{low.at[half * 2], high.at[half * 2], low.at[half * 2 + 1], high.at[half * 2 + 1]}},
              fragment_b{{own.at[half * 2], own.at[half * 2 + 1]}});
        }
      }
    }
  }

  static TROUPE_GPU void put(shared<float> to, unsigned own, const fragment_sums (&sums)[tiles]) {
    TROUPE_UNROLL
    for (unsigned i = 0; i < sums_a_lane; ++i)
      to.store(own + i * 32, sums[i / 4].at[i % 4]);
  }

  static TROUPE_GPU void add(shared<float> from, unsigned own, fragment_sums (&sums)[tiles]) {
    TROUPE_UNROLL
    for (unsigned i = 0; i < sums_a_lane; ++i)
      sums[i / 4].at[i % 4] += from.load(own + i * 32);
  }

  /// Of a tile a lane has rows 2 (lane % 4) and the next, of outputs lane / 4 and 8 further.
  static TROUPE_GPU void write(const arguments& a, std::uint32_t first, std::uint32_t first_row, std::uint32_t rows,
                               const fragment_sums (&sums)[tiles]) {
    const auto last = a.matrix.layout.outputs - 1, low = first + lane() / 4, high = low + 8;
    float bias[2] = {};
    if (a.bias.exists()) {
      bias[0] = a.bias.load(low < last ? low : last);
      bias[1] = a.bias.load(high < last ? high : last);
    }
    TROUPE_UNROLL
    for (unsigned half = 0; half < 2; ++half) {
      const auto n = half == 0 ? low : high;
      if (n > last)
        continue;
      TROUPE_UNROLL
      for (unsigned i = 0; i < tiles * 2; ++i) {
        const auto row = i / 2 * 8 + lane() % 4 * 2 + i % 2;
        if (row >= rows)
          continue;
        const auto at = static_cast<std::size_t>(first_row + row) * a.y_stride + n;
        const float own = sums[i / 2].at[half * 2 + i % 2] + bias[half];
        a.y.store(at, a.accumulates != 0 ? own + a.y.load(at) : own);
      }
    }
  }
};

} // namespace troupe::gpu
