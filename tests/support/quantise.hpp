// Simple quantising, for tests that need weights in a stored form. It rounds to nearest and seeks no better fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/gguf/file.hpp"

namespace troupe::test {

/// binary32 to binary16, to nearest, ties to even.
std::uint16_t float_to_half(float value);

/// F32, F16, BF16, Q8_0 or Q4_1; throws std::invalid_argument for another type, or where `values` is no whole number
/// of blocks.
std::vector<std::byte> quantise(gguf::tensor_type type, std::span<const float> values);

} // namespace troupe::test
