// How a matrix of weights lies in the device's memory: in one buffer of a few parts, each [outputs, ...] in order of
// rows, that together have as many bits as the file's blocks. Kernels read it (gpu/kernels/weight_formats.hpp), the
// host packs it (packed_weights.hpp, f8_weights.hpp); both compilers lay these values out alike.
//
// | format | part 0 | part 1 | part 2 | part 3 |
// |---|---|---|---|---|
// | q8_0 | int8 [N, K] | half scales [N, K / 32] | | |
// | q4_0 | nibbles [N, K / 2] | half scales [N, K / 32] | | |
// | q4_1 | nibbles [N, K / 2] | halves {scale, minimum} [N, K / 32] | | |
// | q4_k | nibbles [N, K / 2] | `q4_k_header`, 16 bytes [N, K / 256] | | |
// | q6_k | low nibbles [N, K / 2] | high 2 bits [N, K / 4] | int8 scales [N, K / 16] | half scales [N, K / 256] |
// | f8 | e4m3 [N, K] | float scales [N] | | |
// | bf16, f16 | [N, K] | | | |
//
// Numbers of less than a byte lie in order of columns, the first one in the lowest bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::gpu {

enum class weight_format : std::uint32_t { q8_0, q4_0, q4_1, q4_k, q6_k, f8, bf16, f16 };

constexpr const char* to_string(weight_format format) {
  switch (format) {
  case weight_format::q8_0:
    return "q8_0";
  case weight_format::q4_0:
    return "q4_0";
  case weight_format::q4_1:
    return "q4_1";
  case weight_format::q4_k:
    return "q4_k";
  case weight_format::q6_k:
    return "q6_k";
  case weight_format::f8:
    return "f8";
  case weight_format::bf16:
    return "bf16";
  case weight_format::f16:
    return "f16";
  }
  return "";
}

/// Columns must be a multiple of this: of the file's blocks, and of what a lane reads at once.
constexpr std::uint32_t block_columns(weight_format format) {
  switch (format) {
  case weight_format::q8_0:
  case weight_format::q4_0:
  case weight_format::q4_1:
    return 32;
  case weight_format::q4_k:
  case weight_format::q6_k:
    return 256;
  case weight_format::f8:
    return 16;
  case weight_format::bf16:
  case weight_format::f16:
    return 8;
  }
  return 1;
}

inline constexpr unsigned most_weight_parts = 4;
inline constexpr std::size_t weight_part_alignment = 256; ///< Bytes; that of device memory, too.

/// Bytes of one row of a part; 0 where the format has no such part.
constexpr std::size_t part_row_bytes(weight_format format, unsigned part, std::size_t columns) {
  const bool is_nibbles = format != weight_format::q8_0 && format < weight_format::f8;
  if (part == 0)
    return format >= weight_format::bf16 ? columns * 2 : is_nibbles ? columns / 2 : columns;
  switch (format) {
  case weight_format::q8_0:
  case weight_format::q4_0:
    return part == 1 ? columns / 32 * 2 : 0;
  case weight_format::q4_1:
    return part == 1 ? columns / 32 * 4 : 0;
  case weight_format::q4_k:
    return part == 1 ? columns / 256 * 16 : 0;
  case weight_format::q6_k:
    return part == 1 ? columns / 4 : part == 2 ? columns / 16 : part == 3 ? columns / 256 * 2 : 0;
  case weight_format::f8:
    return part == 1 ? 4 : 0;
  case weight_format::bf16:
  case weight_format::f16:
    return 0;
  }
  return 0;
}

struct weight_layout {
  weight_format format = weight_format::bf16;
  std::uint32_t outputs = 0, inputs = 0;       ///< Rows (N) and columns (K).
  std::uint64_t parts[most_weight_parts] = {}; ///< Where each begins, in bytes.
  std::uint64_t bytes = 0;                     ///< Of all.
};

/// inputs: a multiple of `block_columns`.
constexpr weight_layout layout_of(weight_format format, std::uint32_t outputs, std::uint32_t inputs) {
  weight_layout layout{format, outputs, inputs, {}, 0};
  for (unsigned part = 0; part < most_weight_parts; ++part) {
    layout.parts[part] = layout.bytes;
    const auto bytes = outputs * part_row_bytes(format, part, inputs);
    layout.bytes += (bytes + weight_part_alignment - 1) / weight_part_alignment * weight_part_alignment;
  }
  return layout;
}

/// Of 256 columns of q4_k, in groups of 32: weight = scale * (scale of the group) * nibble - minimum * (minimum of
/// the group). The groups' numbers have 6 bits.
struct alignas(16) q4_k_header {
  std::uint16_t scale, minimum; ///< Halves.
  std::uint8_t low[8];          ///< A group each: the lower 4 bits of its scale, and above them those of its minimum.
  std::uint8_t high[4]; ///< A nibble a group: the upper 2 bits of its scale, and above them those of its minimum.
};

} // namespace troupe::gpu
