#include "gpu/weights/f8_weights.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>

namespace troupe::gpu {

std::uint8_t to_f8(float value) {
  const auto sign = static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(value) >> 24 & 0x80u);
  const float size = std::abs(value);
  if (std::isnan(size))
    return 0x7f;
  if (size >= largest_f8)
    return sign | 0x7e;
  constexpr int least_exponent = -6; // Of what is not denormal.
  const int exponent = std::max(size > 0 ? std::ilogb(size) : least_exponent, least_exponent);
  const auto eighths =
    static_cast<unsigned>(std::nearbyint(std::ldexp(size, 3 - exponent))); // Exact but for the rounding.
  // 8 to 16 eighths, fewer of a denormal; 16 are the next exponent's first.
  return static_cast<std::uint8_t>(sign | ((exponent - least_exponent) * 8 + eighths));
}

float from_f8(std::uint8_t bits) {
  const unsigned exponent = bits >> 3 & 15u, fraction = bits & 7u;
  float size = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                             : std::ldexp(static_cast<float>(8 + fraction), static_cast<int>(exponent) - 10);
  if ((bits & 0x7f) == 0x7f)
    size = std::numeric_limits<float>::quiet_NaN();
  return bits & 0x80 ? -size : size;
}

expected<void> quantise_f8(std::span<const float> weights, std::uint32_t outputs, std::uint32_t inputs,
                           std::span<std::byte> to) {
  const auto layout = layout_of(weight_format::f8, outputs, inputs);
  if (inputs % block_columns(weight_format::f8) != 0 || weights.size() != std::size_t{outputs} * inputs ||
      to.size() != layout.bytes)
    return fail(errc::invalid_argument,
                fmt::format("{} weights are no matrix of {} x {} in whole blocks of {}, or {} bytes do not hold it.",
                            weights.size(), outputs, inputs, block_columns(weight_format::f8), to.size()));
  for (std::uint32_t row = 0; row < outputs; ++row) {
    const auto own = weights.subspan(std::size_t{row} * inputs, inputs);
    float largest = 0;
    for (std::uint32_t column = 0; column < inputs; ++column) {
      if (!std::isfinite(own[column]))
        return fail(errc::invalid_argument,
                    fmt::format("The weight of row {}, column {} is not finite.", row, column));
      largest = std::max(largest, std::abs(own[column]));
    }
    // A scale that is no denormal, so that dividing by it is as exact as a division is.
    const float scale = largest > 0 ? std::max(largest / largest_f8, std::numeric_limits<float>::min()) : 1.0f;
    for (std::uint32_t column = 0; column < inputs; ++column)
      to[layout.parts[0] + std::size_t{row} * inputs + column] = std::byte{to_f8(own[column] / scale)};
    std::memcpy(to.data() + layout.parts[1] + std::size_t{row} * sizeof scale, &scale, sizeof scale);
  }
  return {};
}

} // namespace troupe::gpu
