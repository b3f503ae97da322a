// Products in the arithmetic of bfloat16, the second one of the threaded backend: `cpu_arithmetic::bf16`.
//
// Canonical arithmetic, which is that of AMX's TDPBF16PS. Activations are rounded to bfloat16 once for each row; weights of
// every kind when they are unpacked: scale * q + min with one rounding to float32 (scale * q where there is no min), then to
// bfloat16. For each 32 columns, in ascending order,
//   even = fma(x[2k], w[2k], even);  odd = fma(x[2k + 1], w[2k + 1], odd)   for k = 0 to 15, both from 0
//   sum = sum + (even + odd)
// A last block of fewer columns is padded with zeros. Bias and the sum's target are added afterwards. Roundings go to the
// nearest even. Denormal numbers are zeros, as operands and as results, in all of this: AMX knows no other way. x86
// kernels have the MXCSR do it for as long as a call takes; the portable ones do it number by number.
//
// VDPBF16PS of AVX-512 adds up in another order and is of no use here.
#pragma once

#include <cstddef>

#include "cpu/kernels.hpp"

namespace troupe::cpu {

constexpr std::size_t bf16_blocks(std::size_t columns) {
  return (columns + block_columns - 1) / block_columns;
}
inline constexpr std::size_t bf16_tile_numbers = std::size_t{tile_rows} * block_columns; ///< Of one block.

inline constexpr unsigned bf16_panels = 8;      ///< Panels that a call takes at most.
inline constexpr unsigned bf16_row_block = 256; ///< Rows for which a weight is unpacked once.
inline constexpr std::size_t bf16_unpacked_bytes =
  16384; ///< Of one panel: as many blocks of it as fit in here are unpacked at a time.

/// What a call needs besides: panels unpacked, and sums that wait for the next blocks. Aligned to 64.
inline constexpr std::size_t bf16_scratch_bytes =
  bf16_panels * (bf16_unpacked_bytes + bf16_row_block * panel_columns * sizeof(float));

/// What there may be among weights to be rounded: denormals and any NaN, or neither.
enum class weights_are { anything, normal };

struct bf16_kernels {
  /// Bytes of a rounded activation: an instruction set stores it as it likes to read it.
  std::size_t number_bytes;
  /// Rounds `columns` floats to row `row` of a tile of [bf16_blocks][16 rows][32 columns].
  void (*round)(const float* x, std::size_t columns, std::byte* tile, unsigned row);
  /// `panels` neighbours (1 to bf16_panels) of one matrix with any number of rows, whose tiles lie one after the other and
  /// are whole: what is in rows that nobody asked for does not matter. Of the target, `outputs` are those of all panels.
  void (*matmul)(const panel* weights, unsigned panels, const std::byte* tiles, unsigned rows,
                 const product_target& target, std::byte* scratch);
};

/// `which` is one that this CPU has.
const bf16_kernels& bf16_kernels_for(instruction_set which);

extern const bf16_kernels bf16_portable_kernels;
#if defined(__x86_64__)
extern const bf16_kernels bf16_avx2_kernels;
extern const bf16_kernels bf16_avx512_kernels;
extern const bf16_kernels bf16_amx_kernels;
#endif

} // namespace troupe::cpu
