// The 16-bit floating-point formats, in plain code that every instruction set runs alike.
#pragma once

#include <bit>
#include <cstdint>

namespace troupe::gguf {

/// IEEE 754 binary16 to binary32, exactly; infinities and NaNs keep their bits.
constexpr float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) // Infinity and NaN: the widest exponent stays the widest.
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude < 0x400u) { // Zero and subnormal: a multiple of 2^-24, which a float holds exactly.
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
}

/// bfloat16 is the upper half of a float.
constexpr float bfloat_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

} // namespace troupe::gguf
