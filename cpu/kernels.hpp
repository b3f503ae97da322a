// The arithmetic of the threaded backend, once for each instruction set, with the same results bit for bit.
//
// Canonical arithmetic. Activations that meet quantised weights are integers with a float32 scale for each 32 columns,
// rounded to the nearest even. They have one byte (scale = largest magnitude / 127) or, where cpu/plan.hpp finds that a
// product needs more precision, 12 bits in two bytes (largest magnitude / 2032), kept as 16 * high + low: a nibble of a
// weight times 16 is still a byte, so that both add to one sum. A product sums each block of 32 columns exactly in
// int32, then
//   acc = fma(float(sum), weight_scale * activation_scale, acc);  acc = fma(weight_min, activation_sum, acc)
// for the blocks in ascending order. Unquantised weights meet float32 activations: one FMA for each column,
// ascending. Attention goes over 64 positions at a time with an online softmax that begins anew at each multiple of
// 256 positions; these segments are then joined in ascending order, whoever computed them. Keys and values that are integers are
// multiplied as such: a key's scale is applied to its score, a value's to its weight. Each row of each operation is a
// function of its own inputs alone. Every float operation is a correctly rounded one that all instruction sets have,
// in one fixed order, so neither the instruction set nor the rows beside a row can change it.
//
// Layouts. A packed matrix is made of panels of 16 outputs; activations of tiles of 16 rows. The kernels of an
// instruction set live in translation units of their own with their own compiler flags: nothing in them may be an
// inline function with external linkage, because the linker could choose its AVX-512 version for code that runs
// everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "cpu/instruction_set.hpp"
#include "model/kv_cache_dtype.hpp"

namespace troupe::cpu {

inline constexpr unsigned panel_columns = 16; ///< Outputs of one panel.
inline constexpr unsigned tile_rows = 16;     ///< Rows of one tile of activations.
inline constexpr unsigned block_columns = 32; ///< Columns (K) that share a scale.

/// 32 columns of 16 rows, as integers of one or two bytes: digits[0], or 16 * digits[0] + digits[1].
template <unsigned Bytes>
struct alignas(64) activation_block {
  std::int8_t digits[Bytes][tile_rows][block_columns];
  float scale[tile_rows];            ///< What an integer is multiplied with.
  float sum[tile_rows];              ///< scale * sum of the 32 integers.
  std::int32_t offset[2][tile_rows]; ///< Minus 128 times the sum of the first and of the last 16 integers.
};
template <unsigned Bytes>
inline constexpr float largest_activation = Bytes == 1 ? 127 : 127 * 16;

/// How a packed panel stores a block of 32 columns (K) of its 16 outputs:
/// - q4 in 256 bytes: byte v * 64 + c * 4 + i has columns 4v + i (low nibble) and 16 + 4v + i (high) of output c; weight = scale * q + min
/// - q8 in 512 bytes: byte v * 64 + c * 4 + i has column 4v + i of output c, plus 128 (`offset` takes that out again); weight = scale * q (+ min)
/// - q8_halves: like q8, with a scale for each 16 columns and no min
/// - f32, f16, bf16: 16 numbers for each column, no blocks
enum class panel_kind : std::uint8_t { q4, q8, q8_min, q8_halves, f32, f16, bf16 };

constexpr bool is_quantised(panel_kind kind) {
  return kind < panel_kind::f32;
}
constexpr std::size_t quant_bytes(panel_kind kind) {
  return kind == panel_kind::q4 ? 256 : 512;
} ///< Of a block.
constexpr unsigned scale_vectors(panel_kind kind) {
  return kind == panel_kind::q8 ? 1 : 2;
} ///< Of 16 numbers, for a block.

struct panel {
  panel_kind kind = panel_kind::q4;
  bool half_scales = false;             ///< Scales and mins in IEEE half instead of float32.
  std::uint32_t columns = 0;            ///< K
  const std::uint8_t* quants = nullptr; ///< [K / 32][quant_bytes], or the numbers of an unquantised panel
  const std::uint8_t* scales = nullptr; ///< [K / 32][scale_vectors][16]
};

/// Where a product of one panel goes: 16 outputs (or fewer at the matrix's end) for each row.
struct product_target {
  float* out = nullptr;        ///< Of the first row.
  std::size_t stride = 0;      ///< Floats between rows.
  unsigned outputs = 0;        ///< 1 to 16.
  const float* bias = nullptr; ///< [outputs], or null.
  bool accumulate = false;     ///< out += product
};

/// One KV head of one layer in one block: keys [head_size][16 positions], then values [16 positions][padded
/// head_size]. They are bfloat16, or int8 with two more arrays of float32 after them: the scales of the keys [16 positions], and of the
/// values. A scale is the largest magnitude of one position's key or value / 127, so that what is stored of a position
/// depends on nothing else.
struct kv_shape {
  std::uint32_t head_size = 0;
  std::uint32_t padded = 0; ///< head_size, rounded up to a multiple of 16.
  kv_cache_dtype dtype = kv_cache_dtype::bf16;
  [[gnu::always_inline]] std::size_t keys() const { return std::size_t{head_size} * 16; }
  [[gnu::always_inline]] std::size_t numbers() const { return keys() + std::size_t{padded} * 16; }
  [[gnu::always_inline]] std::size_t bytes() const {
    return dtype == kv_cache_dtype::int8 ? numbers() + 32 * sizeof(float) : numbers() * sizeof(std::uint16_t);
  }
};

/// Positions whose attention is computed by itself, and then joined with that of the segments before them.
inline constexpr std::uint32_t segment_positions = 256;

/// Up to 16 queries of consecutive positions against one KV head.
struct attention_tile {
  kv_shape shape;
  const float* queries = nullptr; ///< Of the first row; head g of row r at queries + r * row_stride + g * head_size
  float* out = nullptr;           ///< Likewise.
  std::size_t row_stride = 0;
  unsigned rows = 0, group = 0; ///< rows * group <= 16
  std::uint32_t first_position = 0;
  float scale = 0;
  const std::byte* kv = nullptr;         ///< This layer's and head's part of block 0.
  std::size_t block_stride = 0;          ///< Bytes between blocks.
  const std::uint32_t* blocks = nullptr; ///< Block ids from position 0 on.
  float* scratch = nullptr;              ///< attention_scratch(shape) floats, aligned to 64 bytes.

  /// Segments that some of the rows see.
  [[gnu::always_inline]] std::uint32_t segments() const {
    return (first_position + rows - 1) / segment_positions + 1;
  }
};
/// Floats of what 16 queries have found in some segments: the maximum of each, [16] sums for each, [padded] outputs for each.
[[gnu::always_inline]] constexpr std::size_t attention_partial(const kv_shape& shape) {
  return std::size_t{16} * (1 + 16 + shape.padded);
}
/// Queries, scores, and two partial results.
constexpr std::size_t attention_scratch(const kv_shape& shape) {
  return std::size_t{16} * (shape.padded + 4 * 16) + 2 * attention_partial(shape);
}

/// How one row turns: element i of a head, whose partner is element p, becomes x[i] * cos[i] + x[p] * sin[i].
struct rope_angles {
  const float* cos = nullptr; ///< [size], times the magnitude.
  const float* sin = nullptr; ///< Likewise; of the first of two partners it is minus the sine.
  std::uint32_t size = 0;     ///< Even; elements of a head after it stay.
  bool interleaved = true;    ///< Partners are neighbours; else they lie size / 2 apart.
};

struct kernel_table {
  /// Rows 0 to rows - 1 (at most 16) of a tile with one panel. `tile` has K / 32 blocks.
  void (*matmul_one_byte)(const panel& weights, const activation_block<1>* tile, unsigned rows,
                          const product_target& target);
  void (*matmul_two_bytes)(const panel& weights, const activation_block<2>* tile, unsigned rows,
                           const product_target& target);
  /// The same for rows of float32.
  void (*matmul_float)(const panel& weights, const float* activations, std::size_t stride, unsigned rows,
                       const product_target& target);
  /// Row `row` of a tile, from `columns` floats (a multiple of 32).
  void (*quantise_one_byte)(const float* x, std::size_t columns, activation_block<1>* tile, unsigned row);
  void (*quantise_two_bytes)(const float* x, std::size_t columns, activation_block<2>* tile, unsigned row);
  void (*rms_norm)(const float* x, const float* weight, std::size_t width, float epsilon, float* out);
  /// out = silu(gate) * up; out may be gate.
  void (*swiglu)(const float* gate, const float* up, std::size_t width, float* out);
  void (*add)(const float* x, std::size_t width, float* out); ///< out += x
  /// Turns `heads` heads in place.
  void (*rope)(float* x, unsigned heads, unsigned head_size, const rope_angles& angles);
  /// Writes one head's key and value at `position` (0 to 15) of a block.
  void (*store_kv)(const float* key, const float* value, const kv_shape& shape, unsigned position, std::byte* block);
  void (*attention)(const attention_tile& tile);
  /// The same in parts: what the tile finds in one segment, [attention_partial] floats; and the outputs, from those of
  /// all its segments, the first of which is overwritten.
  void (*attention_segment)(const attention_tile& tile, std::uint32_t segment, float* partial);
  void (*join_segments)(const attention_tile& tile, float* partials);

  // What the machine could do at most, measured by cpu/peaks.hpp; nothing else calls these.

  /// Products of two bytes added to a sum, as fast as they go where they are not read from memory. Returns how many they were.
  std::uint64_t (*multiply_bytes)(std::uint64_t rounds);
  /// The same for fused multiply-adds of float32.
  std::uint64_t (*multiply_floats)(std::uint64_t rounds);
  /// Reads `count` floats, a multiple of 128, and returns something made of all of them.
  float (*read)(const float* from, std::size_t count);
};

/// `which` is one that this CPU has.
const kernel_table& kernels_for(instruction_set which);

extern const kernel_table portable_kernels;
#if defined(__x86_64__)
extern const kernel_table avx2_kernels;
extern const kernel_table avxvnni_kernels;
extern const kernel_table avx512vnni_kernels;
#endif

} // namespace troupe::cpu
