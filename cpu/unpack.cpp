// Takes a stored block apart into integers, scales and a min. Source: https://github.com/ggml-org/ggml, docs/gguf.md
// and the layouts that the `gguf` Python package's quants.py describes.
#include <cstring>

#include "cpu/packed_matrix.hpp"
#include "model/gguf/half.hpp"

namespace troupe::cpu {

namespace {

using gguf::tensor_type;

unsigned byte_at(const std::byte* p, std::size_t i) {
  return std::to_integer<unsigned>(p[i]);
}

float half_at(const std::byte* p, std::size_t i) {
  return gguf::half_to_float(static_cast<std::uint16_t>(byte_at(p, i) | byte_at(p, i + 1) << 8));
}

/// Element i of 32 nibbles, of which the first 16 are the low ones.
unsigned nibble(const std::byte* p, unsigned i) {
  return byte_at(p, i % 16) >> (i < 16 ? 0 : 4) & 15;
}

quant_block with_scale(float scale, float min) {
  quant_block out{};
  out.scale[0] = out.scale[1] = scale;
  out.min = min;
  return out;
}

quant_block unpack_nibbles(const std::byte* p, bool has_min) {
  const float scale = half_at(p, 0);
  auto out = with_scale(scale, has_min ? half_at(p, 2) : -8 * scale);
  for (unsigned i = 0; i < 32; ++i)
    out.quants[i] = static_cast<std::int8_t>(nibble(p + (has_min ? 4 : 2), i));
  return out;
}

/// Q5_0 and Q5_1: four bytes with the fifth bits, then nibbles.
quant_block unpack_five(const std::byte* p, bool has_min) {
  auto out = with_scale(half_at(p, 0), has_min ? half_at(p, 2) : 0.0f);
  p += has_min ? 4 : 2;
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned q = nibble(p + 4, i) | (byte_at(p, i / 8) >> i % 8 & 1) << 4;
    out.quants[i] = static_cast<std::int8_t>(static_cast<int>(q) - (has_min ? 0 : 16));
  }
  return out;
}

quant_block unpack_eight(const std::byte* p) {
  auto out = with_scale(half_at(p, 0), 0.0f);
  std::memcpy(out.quants, p + 2, 32);
  return out;
}

/// The 6-bit scale and min of sub-block j of 8 of Q4_K and Q5_K.
void scale_and_min(const std::byte* scales, unsigned j, unsigned& scale, unsigned& min) {
  if (j < 4) {
    scale = byte_at(scales, j) & 63;
    min = byte_at(scales, j + 4) & 63;
  } else {
    scale = (byte_at(scales, j + 4) & 15) | byte_at(scales, j - 4) >> 6 << 4;
    min = byte_at(scales, j + 4) >> 4 | byte_at(scales, j) >> 6 << 4;
  }
}

/// Q4_K: half d, half dmin, 12 bytes of scales, 128 bytes of nibbles; Q5_K has 32 bytes of fifth bits before the
/// nibbles.
quant_block unpack_k(const std::byte* p, unsigned j, bool five) {
  unsigned scale = 0, min = 0;
  scale_and_min(p + 4, j, scale, min);
  auto out = with_scale(half_at(p, 0) * static_cast<float>(scale), -(half_at(p, 2) * static_cast<float>(min)));
  const std::byte* nibbles = p + (five ? 48 : 16) + j / 2 * 32;
  for (unsigned i = 0; i < 32; ++i) {
    unsigned q = byte_at(nibbles, i) >> (j % 2 ? 4 : 0) & 15;
    if (five)
      q |= (byte_at(p + 16, i) >> j & 1) << 4;
    out.quants[i] = static_cast<std::int8_t>(q);
  }
  return out;
}

/// Q6_K: 128 bytes of low nibbles, 64 of upper two bits, 16 int8 scales, half d.
quant_block unpack_six(const std::byte* p, unsigned j) {
  const unsigned half = j / 4, quarter = j % 4;
  const std::byte* low = p + half * 64 + quarter % 2 * 32;
  const std::byte* high = p + 128 + half * 32;
  const float d = half_at(p, 208);
  quant_block out{};
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned q = (byte_at(low, i) >> (quarter / 2 * 4) & 15) | (byte_at(high, i) >> quarter * 2 & 3) << 4;
    out.quants[i] = static_cast<std::int8_t>(static_cast<int>(q) - 32);
  }
  for (unsigned s = 0; s < 2; ++s)
    out.scale[s] = d * static_cast<float>(static_cast<std::int8_t>(byte_at(p, 192 + j * 2 + s)));
  return out;
}

} // namespace

quant_block unpack(tensor_type type, const std::byte* row, std::uint32_t index) {
  const auto format = gguf::format_of(type);
  const std::uint32_t per_stored = format.elements / 32;
  const std::byte* at = row + std::size_t{index / per_stored} * format.bytes;
  const unsigned j = index % per_stored;
  switch (type) {
  case tensor_type::q4_0:
    return unpack_nibbles(at, false);
  case tensor_type::q4_1:
    return unpack_nibbles(at, true);
  case tensor_type::q5_0:
    return unpack_five(at, false);
  case tensor_type::q5_1:
    return unpack_five(at, true);
  case tensor_type::q8_0:
    return unpack_eight(at);
  case tensor_type::q4_k:
    return unpack_k(at, j, false);
  case tensor_type::q5_k:
    return unpack_k(at, j, true);
  case tensor_type::q6_k:
    return unpack_six(at, j);
  default:
    return {};
  }
}

} // namespace troupe::cpu
