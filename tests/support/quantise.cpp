#include "tests/support/quantise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "model/gguf/half.hpp"

namespace troupe::test {

namespace {

class byte_sink {
public:
  void put_u8(std::uint8_t value) { bytes.push_back(static_cast<std::byte>(value)); }
  void put_u16(std::uint16_t value) {
    put_u8(static_cast<std::uint8_t>(value));
    put_u8(static_cast<std::uint8_t>(value >> 8));
  }
  std::vector<std::byte> bytes;
};

std::uint16_t float_to_bfloat(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void q8_0_block(std::span<const float> in, byte_sink& out) {
  float largest = 0;
  for (float value : in)
    largest = std::max(largest, std::fabs(value));
  const auto d = float_to_half(largest / 127.0f);
  const float scale = gguf::half_to_float(d);
  out.put_u16(d);
  for (float value : in) {
    const float q = scale > 0 ? std::nearbyint(value / scale) : 0;
    out.put_u8(static_cast<std::uint8_t>(static_cast<std::int8_t>(std::clamp(q, -127.0f, 127.0f))));
  }
}

void q4_1_block(std::span<const float> in, byte_sink& out) {
  const auto [least, greatest] = std::minmax_element(in.begin(), in.end());
  const auto d = float_to_half((*greatest - *least) / 15.0f);
  const auto m = float_to_half(*least);
  const float scale = gguf::half_to_float(d);
  const float min = gguf::half_to_float(m);
  auto nibble = [&](float value) {
    const float q = scale > 0 ? std::nearbyint((value - min) / scale) : 0;
    return static_cast<std::uint8_t>(std::clamp(q, 0.0f, 15.0f));
  };
  out.put_u16(d);
  out.put_u16(m);
  for (std::size_t i = 0; i < 16; ++i)
    out.put_u8(static_cast<std::uint8_t>(nibble(in[i]) | nibble(in[i + 16]) << 4));
}

} // namespace

std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const auto magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return sign | 0x7e00u; // NaN
  if (magnitude >= 0x477ff000u)
    return sign | 0x7c00u; // 65520 and more
  if (magnitude < 0x38800000u) { // Under 2^-14: a multiple of 2^-24.
    const auto steps = std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p24f);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(steps));
  }
  const auto rounded = magnitude + 0xfffu + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

std::vector<std::byte> quantise(gguf::tensor_type type, std::span<const float> values) {
  using enum gguf::tensor_type;
  const auto block = gguf::format_of(type).elements;
  if (values.size() % block != 0)
    throw std::invalid_argument("quantise: not a whole number of blocks");
  byte_sink out;
  for (std::size_t i = 0; i < values.size(); i += block) {
    switch (type) {
      case f32: {
        const auto bits = std::bit_cast<std::uint32_t>(values[i]);
        out.put_u16(static_cast<std::uint16_t>(bits));
        out.put_u16(static_cast<std::uint16_t>(bits >> 16));
        break;
      }
      case f16: out.put_u16(float_to_half(values[i])); break;
      case bf16: out.put_u16(float_to_bfloat(values[i])); break;
      case q8_0: q8_0_block(values.subspan(i, block), out); break;
      case q4_1: q4_1_block(values.subspan(i, block), out); break;
      default: throw std::invalid_argument("quantise: only F32, F16, BF16, Q8_0 and Q4_1");
    }
  }
  return std::move(out.bytes);
}

} // namespace troupe::test
