// Products of a few rows with a matrix of any format: what decoding mostly does, at the speed of memory.
#pragma once

#include "gpu/kernels/weight_formats.hpp"
#include "gpu/portable/sums.hpp"

namespace troupe::gpu {

struct product_arguments {
  device_matrix matrix;     ///< [outputs, inputs]
  global<const bf16> x;     ///< [rows, inputs], aligned to 16 bytes.
  global<const float> bias; ///< [outputs], or null.
  global<float> y;          ///< [rows, y_stride], of which the first `outputs` are written.
  std::uint32_t rows, y_stride;
  std::uint32_t accumulates; ///< 1: y += ...; 0: y = ...
};

/// y[r, n] = sum over k of x[r, k] * weight[n, k] (+ bias[n]) (+ what y was), for up to `Rows` rows at once; weights
/// are read once for all of them. A warp computes four outputs, a lane every 32nd chunk of their columns, so that x
/// is read once for four.
///
/// A row's result has the same bits for every `Rows`, and whatever the other rows are: the order of its sum is that
/// of the columns of each lane, then of lanes.
template <class Format, unsigned Rows>
struct product {
  static_assert(Rows <= 8);
  static constexpr format_name own_name{"product", Format::format, Rows};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 128;
  static constexpr unsigned outputs_a_warp = 4, outputs_a_block = max_threads / 32 * outputs_a_warp;
  using arguments = product_arguments;

  static constexpr grid_shape grid(std::uint32_t outputs, std::uint32_t rows) {
    return {{(outputs + outputs_a_block - 1) / outputs_a_block, (rows + Rows - 1) / Rows}, max_threads, 0};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto outputs = a.matrix.layout.outputs;
    const auto first = (block_index().x * (max_threads / 32) + warp()) * outputs_a_warp;
    if (first >= outputs)
      return; // The whole warp.
    const auto first_row = block_index().y * Rows;
    const auto rows = a.rows - first_row < Rows ? a.rows - first_row : Rows;
    float sums[Rows][outputs_a_warp] = {};
    add_chunks(a, first, first_row, rows, sums);
    write(a, first, first_row, rows, sums);
  }

private:
  static constexpr unsigned groups = Format::columns / 8, groups_a_run = groups / Format::runs;

  static TROUPE_GPU void add_chunks(const arguments& a, std::uint32_t first, std::uint32_t first_row,
                                    std::uint32_t rows, float (&sums)[Rows][outputs_a_warp]) {
    const auto inputs = a.matrix.layout.inputs, last = a.matrix.layout.outputs - 1;
    const auto x = a.x + static_cast<std::size_t>(first_row) * inputs;
    for (auto c = lane(); c < inputs / Format::columns; c += 32) {
      weight_chunk chunks[outputs_a_warp];
      TROUPE_UNROLL
      for (unsigned o = 0; o < outputs_a_warp;
           ++o) // Outputs behind the last one are the last one again, and not written.
        chunks[o] = Format::load(a.matrix, first + o < last ? first + o : last, c);
      TROUPE_UNROLL
      for (unsigned run = 0; run < Format::runs; ++run) {
        float parts[Rows][outputs_a_warp] = {}, x_sums[Rows] = {};
        TROUPE_UNROLL
        for (unsigned group = run * groups_a_run; group < (run + 1) * groups_a_run; ++group) {
          eight_floats numbers[outputs_a_warp];
          TROUPE_UNROLL
          for (unsigned o = 0; o < outputs_a_warp; ++o)
            numbers[o] = Format::unpack(chunks[o], group);
          TROUPE_UNROLL
          for (unsigned r = 0; r < Rows; ++r) { // Rows that are not there are the last one again.
            const auto row = r < rows ? r : rows - 1;
            const auto own = unpack(
              x.template load_as<words4>(static_cast<std::size_t>(row) * inputs + c * Format::columns + group * 8));
            add_group(parts[r], x_sums[r], numbers, own);
          }
        }
        TROUPE_UNROLL
        for (unsigned r = 0; r < Rows; ++r) {
          TROUPE_UNROLL
          for (unsigned o = 0; o < outputs_a_warp; ++o) {
            sums[r][o] += chunks[o].scale[run] * parts[r][o];
            if constexpr (Format::has_minimum)
              sums[r][o] += chunks[o].minimum * x_sums[r];
          }
        }
      }
    }
  }

  static TROUPE_GPU void add_group(float (&parts)[outputs_a_warp], float& x_sum,
                                   const eight_floats (&numbers)[outputs_a_warp], const eight_floats& x) {
    TROUPE_UNROLL
    for (unsigned i = 0; i < 8; ++i) {
      if constexpr (Format::has_minimum)
        x_sum += x.at[i];
      TROUPE_UNROLL
      for (unsigned o = 0; o < outputs_a_warp; ++o)
        parts[o] += numbers[o].at[i] * x.at[i];
    }
  }

  /// Lane 4 r + o has output o of row r.
  static TROUPE_GPU void write(const arguments& a, std::uint32_t first, std::uint32_t first_row, std::uint32_t rows,
                               const float (&sums)[Rows][outputs_a_warp]) {
    float own = 0;
    TROUPE_UNROLL
    for (unsigned r = 0; r < Rows; ++r) {
      TROUPE_UNROLL
      for (unsigned o = 0; o < outputs_a_warp; ++o) {
        const float sum = group_sum(sums[r][o]);
        if (lane() == r * outputs_a_warp + o)
          own = sum;
      }
    }
    const auto row = lane() / outputs_a_warp, n = first + lane() % outputs_a_warp;
    if (row >= rows || n >= a.matrix.layout.outputs)
      return;
    const auto at = static_cast<std::size_t>(first_row + row) * a.y_stride + n;
    if (a.bias.exists())
      own += a.bias.load(n);
    if (a.accumulates != 0)
      own += a.y.load(at);
    a.y.store(at, own);
  }
};

} // namespace troupe::gpu
