// How a lane reads weights: one policy for each format, used by all kernels that read matrices.
//
// A lane takes a chunk, the columns that 16 bytes of part 0 hold, and unpacks it in groups of eight columns, a group
// from as many whole bytes. Unpacking gives small integers as floats (or the weights themselves, where the format has
// floats); those of a run of columns share a scale: weight = scale * number + minimum.
//
//   struct q4_0_weights {
//     static constexpr weight_format format;
//     static constexpr unsigned columns;      // Of a chunk.
//     static constexpr unsigned runs;         // Of a chunk, each with its own scale.
//     static constexpr bool has_minimum;
//     static weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk);
//     static eight_floats unpack(const weight_chunk& chunk, unsigned group);   // group: known to the compiler
//   };
//
// Integers become floats without conversions, which are slow: they are set into the fraction of a power of two, that
// is subtracted. Every step is exact, so that it does not matter whether a compiler makes one operation of a product
// and a sum.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/eight_floats.hpp"
#include "gpu/weights/weight_layout.hpp"

namespace troupe::gpu {

/// A matrix in the device's memory, as kernels are given it.
struct device_matrix {
  global<const std::uint8_t> bytes; ///< Aligned to `weight_part_alignment`.
  weight_layout layout;

  /// `Value` at byte `offset` of a row of a part whose rows have `row_bytes`.
  template <class Value>
  TROUPE_GPU Value load(unsigned part, std::size_t row, std::size_t row_bytes, std::size_t offset) const {
    return bytes.template load_as<Value>(layout.parts[part] + row * row_bytes + offset);
  }
};

struct weight_chunk {
  words4 words;
  words2 more; ///< q6_k: the upper bits.
  float scale[2];
  float minimum;
};

inline constexpr std::uint32_t two_to_23 = 0x4b000000u; ///< The bits of 2^23, whose fraction counts ones.

/// Byte `i` of a word, less `Offset`.
template <unsigned Offset>
TROUPE_GPU float byte_of(std::uint32_t word, unsigned i) {
  return bits_as<float>(two_to_23 | (word >> (8 * i) & 0xffu)) - static_cast<float>((1u << 23) + Offset);
}

/// Number `i` of `Bits` bits of a word, less `Offset`; one that lies wholly in the fraction's 23 bits is not shifted
/// to its beginning.
template <unsigned Bits, unsigned Offset>
TROUPE_GPU float number_of(std::uint32_t word, unsigned i) {
  constexpr unsigned in_fraction = 23 / Bits; // Numbers.
  const auto at = i % in_fraction * Bits;
  const auto shifted = word >> (i / in_fraction * in_fraction * Bits);
  const float in_place = bits_as<float>(two_to_23 | (shifted & ((1u << Bits) - 1) << at)); // 2^23 + number * 2^at
  const float back = bits_as<float>((127u - at) << 23);                                    // 2^-at
  return in_place * back - (static_cast<float>(1u << 23) * back + static_cast<float>(Offset));
}

template <unsigned Offset>
TROUPE_GPU eight_floats unpack_nibbles(std::uint32_t word) {
  eight_floats out;
  TROUPE_UNROLL
  for (unsigned i = 0; i < 8; ++i)
    out.at[i] = number_of<4, Offset>(word, i);
  return out;
}

struct q8_0_weights {
  static constexpr weight_format format = weight_format::q8_0;
  static constexpr unsigned columns = 16, runs = 1;
  static constexpr bool has_minimum = false;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    const auto k = m.layout.inputs;
    weight_chunk out;
    out.words = m.load<words4>(0, row, k, chunk * 16);
    out.scale[0] = to_float(m.load<half>(1, row, k / 16, chunk / 2 * 2));
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned group) {
    eight_floats out;
    TROUPE_UNROLL
    for (unsigned i = 0; i < 8; ++i)
      out.at[i] = byte_of<128>(chunk.words.at[group * 2 + i / 4] ^ 0x80808080u, i % 4);
    return out;
  }
};

struct q4_0_weights {
  static constexpr weight_format format = weight_format::q4_0;
  static constexpr unsigned columns = 32, runs = 1;
  static constexpr bool has_minimum = false;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    const auto k = m.layout.inputs;
    weight_chunk out;
    out.words = m.load<words4>(0, row, k / 2, chunk * 16);
    out.scale[0] = to_float(m.load<half>(1, row, k / 16, chunk * 2));
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned group) {
    return unpack_nibbles<8>(chunk.words.at[group]);
  }
};

struct q4_1_weights {
  static constexpr weight_format format = weight_format::q4_1;
  static constexpr unsigned columns = 32, runs = 1;
  static constexpr bool has_minimum = true;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    const auto k = m.layout.inputs;
    weight_chunk out;
    out.words = m.load<words4>(0, row, k / 2, chunk * 16);
    const auto both = m.load<std::uint32_t>(1, row, k / 8, chunk * 4);
    out.scale[0] = to_float(half{static_cast<std::uint16_t>(both)});
    out.minimum = to_float(half{static_cast<std::uint16_t>(both >> 16)});
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned group) {
    return unpack_nibbles<0>(chunk.words.at[group]);
  }
};

struct q4_k_weights {
  static constexpr weight_format format = weight_format::q4_k;
  static constexpr unsigned columns = 32, runs = 1; ///< A chunk is one of the header's groups.
  static constexpr bool has_minimum = true;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    const auto k = m.layout.inputs;
    weight_chunk out;
    out.words = m.load<words4>(0, row, k / 2, chunk * 16);
    const auto header = m.load<words4>(1, row, k / 16, chunk / 8 * 16); // A `q4_k_header`.
    const auto group = chunk % 8;
    const auto low = (group < 4 ? header.at[1] : header.at[2]) >> (group % 4 * 8), high = header.at[3] >> (group * 4);
    const auto scale = (low & 15) | (high & 3) << 4, minimum = (low >> 4 & 15) | (high >> 2 & 3) << 4;
    out.scale[0] = to_float(half{static_cast<std::uint16_t>(header.at[0])}) * static_cast<float>(scale);
    out.minimum = -(to_float(half{static_cast<std::uint16_t>(header.at[0] >> 16)}) * static_cast<float>(minimum));
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned group) {
    return unpack_nibbles<0>(chunk.words.at[group]);
  }
};

struct q6_k_weights {
  static constexpr weight_format format = weight_format::q6_k;
  static constexpr unsigned columns = 32, runs = 2;
  static constexpr bool has_minimum = false;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    const auto k = m.layout.inputs;
    weight_chunk out;
    out.words = m.load<words4>(0, row, k / 2, chunk * 16);
    out.more = m.load<words2>(1, row, k / 4, chunk * 8);
    const auto scales = m.load<std::uint16_t>(2, row, k / 16, chunk * 2); // Two int8.
    const float scale = to_float(m.load<half>(3, row, k / 128, chunk / 8 * 2));
    out.scale[0] = scale * static_cast<float>(static_cast<std::int8_t>(scales));
    out.scale[1] = scale * static_cast<float>(static_cast<std::int8_t>(scales >> 8));
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned group) {
    auto out = unpack_nibbles<32>(chunk.words.at[group]);
    const auto upper = chunk.more.at[group / 2] >> (group % 2 * 16);
    TROUPE_UNROLL
    for (unsigned i = 0; i < 8; ++i)
      out.at[i] += number_of<2, 0>(upper, i) * 16.0f;
    return out;
  }
};

struct f8_weights {
  static constexpr weight_format format = weight_format::f8;
  static constexpr unsigned columns = 16, runs = 1;
  static constexpr bool has_minimum = false;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    weight_chunk out;
    out.words = m.load<words4>(0, row, m.layout.inputs, chunk * 16);
    out.scale[0] = m.load<float>(1, row, 4, 0);
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned group) {
    eight_floats out;
    TROUPE_UNROLL
    for (unsigned i = 0; i < 8; ++i) {
      const auto bits = chunk.words.at[group * 2 + i / 4] >> (i % 4 * 8);
      // Exponent and fraction in a float's, whose exponent means 2^120 times less; denormals, too.
      out.at[i] = bits_as<float>((bits & 0x80u) << 24 | (bits & 0x7fu) << 20) * 1.329227995784916e36f; // 2^120
    }
    return out;
  }
};

struct bf16_weights {
  static constexpr weight_format format = weight_format::bf16;
  static constexpr unsigned columns = 8, runs = 1;
  static constexpr bool has_minimum = false;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    weight_chunk out;
    out.words = m.load<words4>(0, row, std::size_t{m.layout.inputs} * 2, std::size_t{chunk} * 16);
    out.scale[0] = 1.0f;
    return out;
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned) { return gpu::unpack(chunk.words); }
};

struct f16_weights {
  static constexpr weight_format format = weight_format::f16;
  static constexpr unsigned columns = 8, runs = 1;
  static constexpr bool has_minimum = false;

  static TROUPE_GPU weight_chunk load(const device_matrix& m, std::size_t row, std::uint32_t chunk) {
    return bf16_weights::load(m, row, chunk);
  }
  static TROUPE_GPU eight_floats unpack(const weight_chunk& chunk, unsigned) {
    eight_floats out;
    TROUPE_UNROLL
    for (unsigned i = 0; i < 8; ++i)
      out.at[i] = to_float(half{static_cast<std::uint16_t>(chunk.words.at[i / 2] >> (i % 2 * 16))});
    return out;
  }
};

/// "product<q4_0,4>": the name of a kernel of a format.
struct format_name {
  char text[40] = {};

  constexpr format_name(const char* kernel, weight_format format, unsigned number = 0) {
    unsigned at = 0;
    const auto put = [&](const char* what) {
      for (; *what != '\0'; ++what)
        text[at++] = *what;
    };
    put(kernel);
    put("<");
    put(to_string(format));
    if (number > 0) {
      text[at++] = ',';
      text[at++] = static_cast<char>('0' + number);
    }
    put(">");
  }
};

} // namespace troupe::gpu
