// Weights as e4m3 with one scale a row: a format that GGUF does not have, made from floats on the host.
// Source: https://arxiv.org/abs/2209.05433 (FP8 Formats for Deep Learning), e4m3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gpu/weights/weight_layout.hpp"
#include "protocol/error.hpp"

namespace troupe::gpu {

inline constexpr float largest_f8 = 448.0f;

/// To nearest, ties to even; what is over 448 becomes 448, infinities, too. A NaN becomes 0x7f.
std::uint8_t to_f8(float value);
/// What the bits stand for; 0x7f and 0xff are NaNs.
float from_f8(std::uint8_t bits);

/// weights: [outputs, inputs]; inputs: a multiple of 16; to: as many bytes as `layout_of(weight_format::f8, outputs,
/// inputs)` has. A row's scale makes its largest weight 448. Errors: invalid_argument (a weight that is not finite,
/// named by row and column; columns that are not whole blocks; a buffer of another size).
expected<void> quantise_f8(std::span<const float> weights, std::uint32_t outputs, std::uint32_t inputs,
                           std::span<std::byte> to);

} // namespace troupe::gpu
