// Products of a few rows with a quantised matrix: what decoding mostly does, at the speed of memory.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/sums.hpp"

namespace troupe::gpu {

/// y[r, n] = sum over k of x[r, k] * scales[n, k / 32] * quants[n, k], for `Rows` rows at once (GGUF's Q8_0, its scales and numbers
/// apart so that both are read in whole sectors). A warp computes one n: it reads 512 numbers at a time, 16 a lane.
/// Blocks x: n / 4 (rounded up), y: rows / Rows (rounded up).
template <unsigned Rows>
struct product_q8_0 {
  static constexpr numbered_name own_name{"product_q8_0", Rows};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 128;
  static constexpr unsigned numbers_a_lane = 16;
  struct arguments {
    global<const std::int8_t> quants;    ///< [outputs, inputs]
    global<const half> scales;           ///< [outputs, inputs / 32]
    global<const float> x;               ///< [rows, inputs]
    global<float> y;                     ///< [rows, outputs]
    std::uint32_t rows, outputs, inputs; ///< inputs: a multiple of 32.
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto n = static_cast<std::size_t>(block_index().x) * (max_threads / 32) + warp();
    if (n >= a.outputs)
      return; // The whole warp.
    const auto first_row = block_index().y * Rows;
    float sums[Rows] = {};
    for (auto k = lane() * numbers_a_lane; k < a.inputs; k += 32 * numbers_a_lane) {
      const auto words = a.quants.template load_as<words4>(n * a.inputs + k);
      const float scale = to_float(a.scales.load(n * (a.inputs / 32) + k / 32));
      for (unsigned r = 0; r < Rows; ++r) {
        if (first_row + r >= a.rows)
          break;
        const auto x = a.x + ((first_row + r) * static_cast<std::size_t>(a.inputs) + k);
        float sum = 0;
        for (unsigned i = 0; i < 4; ++i) {
          const auto four = x.template load_as<floats4>(i * 4);
          for (unsigned j = 0; j < 4; ++j)
            sum += four.at[j] * static_cast<float>(static_cast<std::int8_t>(words.at[i] >> (8 * j)));
        }
        sums[r] += sum * scale;
      }
    }
    for (unsigned r = 0; r < Rows; ++r) {
      const float sum = group_sum(sums[r]);
      if (lane() == 0 && first_row + r < a.rows)
        a.y.store((first_row + r) * static_cast<std::size_t>(a.outputs) + n, sum);
    }
  }
};

} // namespace troupe::gpu
