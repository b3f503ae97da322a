// The numbers of kernels: brain floats, vectors of 16 bytes, matrix fragments. The same bits on devices and on the host.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define TROUPE_GPU_BOTH __host__ __device__ __forceinline__
#else
#include <cstring>
#define TROUPE_GPU_BOTH inline
#endif

namespace troupe::gpu {

#if defined(__CUDACC__)
inline namespace on_device { // Both compilers' may be linked into one program.
#else
inline namespace on_host {
#endif

/// The bits of a number as those of another kind.
template <class To, class From>
TROUPE_GPU_BOTH To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
#if defined(__CUDACC__)
  union {
    From from;
    To to;
  } both{from};
  return both.to;
#else
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
#endif
}

} // namespace

/// A brain float: the upper half of an fp32.
struct bf16 {
  std::uint16_t bits;
};

TROUPE_GPU_BOTH float to_float(bf16 value) {
  return bits_as<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// Rounds to nearest, ties to even; a NaN stays one.
TROUPE_GPU_BOTH bf16 to_bf16(float value) {
  const auto bits = bits_as<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

/// An IEEE half, as GGUF's scales are.
struct half {
  std::uint16_t bits;
};

TROUPE_GPU_BOTH float to_float(half value) {
  const auto sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const auto rest = static_cast<std::uint32_t>(value.bits & 0x7fffu);
  if (rest >= 0x7c00u) // Infinities and NaNs.
    return bits_as<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  // The exponent is corrected by a product, which does denormals, too.
  return bits_as<float>(sign | bits_as<std::uint32_t>(bits_as<float>(rest << 13) * 5.192296858534828e33f)); // 2^112
}

struct alignas(8) words2 {
  std::uint32_t at[2];
};
struct alignas(16) words4 {
  std::uint32_t at[4];
};
struct alignas(16) floats4 {
  float at[4];
};

/// Two brain floats in a register; the first in its lower half.
TROUPE_GPU_BOTH std::uint32_t pack(bf16 first, bf16 second) {
  return first.bits | static_cast<std::uint32_t>(second.bits) << 16;
}

/// A lane's part of the operands of `multiply_add`: rows 16 x 16 (row-major), columns 16 x 8 (column-major), sums 16 x 8.
struct fragment_a {
  std::uint32_t at[4];
};
struct fragment_b {
  std::uint32_t at[2];
};
struct fragment_sums {
  float at[4];
};

struct index3 {
  unsigned x = 0, y = 0, z = 0;
};
/// Blocks of a grid.
struct extent3 {
  unsigned x = 1, y = 1, z = 1;
};

} // namespace troupe::gpu
