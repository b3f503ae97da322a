// Stored weights to float32, in the order of operations of the `gguf` package (gguf/quants.py), so that every bit
// agrees. Blocks are read with memcpy: nothing here depends on how data is aligned.
// Source of the layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
#include <cassert>
#include <cstring>

#include "model/gguf/file.hpp"
#include "model/gguf/half.hpp"

namespace troupe::gguf {

namespace {

using bytes_in = const std::uint8_t*;

std::uint16_t load_u16(bytes_in at) {
  std::uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float load_half(bytes_in at) {
  return half_to_float(load_u16(at));
}

void f16_element(bytes_in in, float* out) {
  *out = load_half(in);
}

void bf16_element(bytes_in in, float* out) {
  *out = bfloat_to_float(load_u16(in));
}

// The legacy formats: 32 weights share a scale, and in the _1 kinds a minimum. The low nibbles of 16 bytes are the
// first 16 weights, the high nibbles the last 16.

void q4_0_block(bytes_in in, float* out) {
  const float d = load_half(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((in[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((in[2 + i] >> 4) - 8);
  }
}

void q4_1_block(bytes_in in, float* out) {
  const float d = load_half(in);
  const float m = load_half(in + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(in[4 + i] & 15) + m;
    out[i + 16] = d * static_cast<float>(in[4 + i] >> 4) + m;
  }
}

/// Weight `i` of 32 in a Q5 block, from its nibbles and the 32 fifth bits.
int five_bits(bytes_in nibbles, std::uint32_t high, int i) {
  const int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
  return low | static_cast<int>(high >> i & 1) << 4;
}

std::uint32_t load_u32(bytes_in at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void q5_0_block(bytes_in in, float* out) {
  const float d = load_half(in);
  const auto high = load_u32(in + 2);
  for (int i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>(five_bits(in + 6, high, i) - 16);
}

void q5_1_block(bytes_in in, float* out) {
  const float d = load_half(in);
  const float m = load_half(in + 2);
  const auto high = load_u32(in + 4);
  for (int i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>(five_bits(in + 8, high, i)) + m;
}

void q8_0_block(bytes_in in, float* out) {
  const float d = load_half(in);
  for (int i = 0; i < 32; ++i)
    out[i] = static_cast<float>(static_cast<std::int8_t>(in[2 + i])) * d;
}

// The K formats: 256 weights in groups with 6-bit (Q4_K, Q5_K) or 8-bit (Q6_K) scales of their own.

struct scale_and_min {
  float scale;
  float min;
};

/// Group `j` of 8: 12 bytes hold eight 6-bit scales and eight 6-bit minima, the last four of each with their upper
/// two bits in the top of the first eight bytes.
scale_and_min k_scale(bytes_in packed, int j, float d, float dmin) {
  int scale;
  int min;
  if (j < 4) {
    scale = packed[j] & 63;
    min = packed[j + 4] & 63;
  } else {
    scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
    min = packed[j + 4] >> 4 | (packed[j] >> 6) << 4;
  }
  return {d * static_cast<float>(scale), dmin * static_cast<float>(min)};
}

void q4_k_block(bytes_in in, float* out) {
  const float d = load_half(in);
  const float dmin = load_half(in + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = k_scale(in + 4, group, d, dmin);
    const auto* nibbles = in + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i)
      out[group * 32 + i] = scale * static_cast<float>(nibbles[i] >> shift & 15) - min;
  }
}

void q5_k_block(bytes_in in, float* out) {
  const float d = load_half(in);
  const float dmin = load_half(in + 2);
  const auto* high = in + 16;
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = k_scale(in + 4, group, d, dmin);
    const auto* nibbles = in + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = (nibbles[i] >> shift & 15) | (high[i] >> group & 1) << 4;
      out[group * 32 + i] = scale * static_cast<float>(q) - min;
    }
  }
}

void q6_k_block(bytes_in in, float* out) {
  const auto* scales = in + 192;
  const float d = load_half(in + 208);
  for (int group = 0; group < 8; ++group) { // Of 32 weights; each 16 have a scale.
    const auto* nibbles = in + group / 4 * 64 + group % 2 * 32;
    const auto* high = in + 128 + group / 4 * 32;
    const int low_shift = group % 4 / 2 * 4;
    const int high_shift = group % 4 * 2;
    for (int i = 0; i < 32; ++i) {
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[group * 2 + i / 16]));
      const int q = ((nibbles[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32;
      out[group * 32 + i] = scale * static_cast<float>(q);
    }
  }
}

template <auto Block>
void each_block(block_format format, std::span<const std::byte> bytes, float* out) {
  const auto* in = reinterpret_cast<bytes_in>(bytes.data());
  const auto* end = in + bytes.size();
  for (; in != end; in += format.bytes, out += format.elements)
    Block(in, out);
}

} // namespace

void dequantise(tensor_type type, std::span<const std::byte> bytes, std::span<float> out) {
  const auto format = format_of(type);
  assert(bytes.size() % format.bytes == 0 && out.size() == bytes.size() / format.bytes * format.elements);
  switch (type) {
    case tensor_type::f32:
      if (!bytes.empty())
        std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case tensor_type::f16: return each_block<f16_element>(format, bytes, out.data());
    case tensor_type::bf16: return each_block<bf16_element>(format, bytes, out.data());
    case tensor_type::q4_0: return each_block<q4_0_block>(format, bytes, out.data());
    case tensor_type::q4_1: return each_block<q4_1_block>(format, bytes, out.data());
    case tensor_type::q5_0: return each_block<q5_0_block>(format, bytes, out.data());
    case tensor_type::q5_1: return each_block<q5_1_block>(format, bytes, out.data());
    case tensor_type::q8_0: return each_block<q8_0_block>(format, bytes, out.data());
    case tensor_type::q4_k: return each_block<q4_k_block>(format, bytes, out.data());
    case tensor_type::q5_k: return each_block<q5_k_block>(format, bytes, out.data());
    case tensor_type::q6_k: return each_block<q6_k_block>(format, bytes, out.data());
  }
}

} // namespace troupe::gguf
