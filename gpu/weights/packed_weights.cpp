#include "gpu/weights/packed_weights.hpp"

#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "gpu/portable/numbers.hpp"

namespace troupe::gpu {

namespace {

using gguf::tensor_type;
using bytes_in = const std::uint8_t*;

std::optional<weight_format> device_format_of(tensor_type type) {
  switch (type) {
  case tensor_type::q8_0:
    return weight_format::q8_0;
  case tensor_type::q4_0:
    return weight_format::q4_0;
  case tensor_type::q4_1:
    return weight_format::q4_1;
  case tensor_type::q4_k:
    return weight_format::q4_k;
  case tensor_type::q6_k:
    return weight_format::q6_k;
  case tensor_type::f32:
  case tensor_type::bf16:
    return weight_format::bf16;
  case tensor_type::f16:
    return weight_format::f16;
  case tensor_type::q5_0:
  case tensor_type::q5_1:
  case tensor_type::q5_k:
    return std::nullopt;
  }
  return std::nullopt;
}

/// Where a row's next bytes of each part go.
struct row_parts {
  std::uint8_t* at[most_weight_parts];

  void put(unsigned part, const void* bytes, std::size_t count) {
    std::memcpy(at[part], bytes, count);
    at[part] += count;
  }
  /// Numbers of 4 bits, in order.
  void put_nibbles(const std::uint8_t* numbers, unsigned count) {
    for (unsigned i = 0; i < count; i += 2)
      *at[0]++ = static_cast<std::uint8_t>(numbers[i] | numbers[i + 1] << 4);
  }
};

void pack_q8_0(bytes_in in, row_parts& to) {
  to.put(0, in + 2, 32);
  to.put(1, in, 2);
}

/// Of Q4_0 and Q4_1: the low nibbles of 16 bytes are the first 16 weights. `scales` bytes come before them.
void pack_q4(bytes_in in, row_parts& to, unsigned scales) {
  std::uint8_t numbers[32];
  for (unsigned i = 0; i < 16; ++i) {
    numbers[i] = in[scales + i] & 15;
    numbers[i + 16] = in[scales + i] >> 4;
  }
  to.put_nibbles(numbers, 32);
  to.put(1, in, scales);
}

void pack_q4_k(bytes_in in, row_parts& to) {
  std::uint8_t numbers[256];
  for (unsigned i = 0; i < 256; ++i)
    numbers[i] = in[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
  to.put_nibbles(numbers, 256);
  q4_k_header header{};
  std::memcpy(&header.scale, in, 2);
  std::memcpy(&header.minimum, in + 2, 2);
  const auto* packed = in + 4; // Twelve bytes; see k_scale of model/gguf/dequantise.cpp.
  for (unsigned group = 0; group < 8; ++group) {
    const bool is_first = group < 4;
    const unsigned scale =
      is_first ? packed[group] & 63u : (packed[group + 4] & 15u) | (packed[group - 4] >> 6 & 3u) << 4;
    const unsigned minimum =
      is_first ? packed[group + 4] & 63u : (packed[group + 4] >> 4 & 15u) | (packed[group] >> 6 & 3u) << 4;
    header.low[group] = static_cast<std::uint8_t>((scale & 15) | (minimum & 15) << 4);
    const auto high = (scale >> 4 | minimum >> 4 << 2) << (group % 2 * 4);
    header.high[group / 2] = static_cast<std::uint8_t>(header.high[group / 2] | high);
  }
  to.put(1, &header, sizeof header);
}

void pack_q6_k(bytes_in in, row_parts& to) {
  std::uint8_t numbers[256], high[64] = {};
  for (unsigned i = 0; i < 256; ++i) {
    const auto group = i / 32, in_group = i % 32;
    numbers[i] = in[group / 4 * 64 + group % 2 * 32 + in_group] >> (group % 4 / 2 * 4) & 15;
    const auto upper = in[128 + group / 4 * 32 + in_group] >> (group % 4 * 2) & 3;
    high[i / 4] = static_cast<std::uint8_t>(high[i / 4] | upper << (i % 4 * 2));
  }
  to.put_nibbles(numbers, 256);
  to.put(1, high, 64);
  to.put(2, in + 192, 16);
  to.put(3, in + 208, 2);
}

void pack_block(tensor_type type, bytes_in in, row_parts& to) {
  switch (type) {
  case tensor_type::q8_0:
    return pack_q8_0(in, to);
  case tensor_type::q4_0:
    return pack_q4(in, to, 2);
  case tensor_type::q4_1:
    return pack_q4(in, to, 4);
  case tensor_type::q4_k:
    return pack_q4_k(in, to);
  case tensor_type::q6_k:
    return pack_q6_k(in, to);
  case tensor_type::f32: {
    float value;
    std::memcpy(&value, in, sizeof value);
    const auto rounded = to_bf16(value);
    return to.put(0, &rounded, 2);
  }
  case tensor_type::bf16:
  case tensor_type::f16:
    return to.put(0, in, 2);
  case tensor_type::q5_0:
  case tensor_type::q5_1:
  case tensor_type::q5_k:
    return; // None is planned.
  }
}

} // namespace

expected<packed_weights> packed_weights::plan(const gguf::tensor& from, const weight_slice& part) {
  const auto format = device_format_of(from.type);
  if (!format)
    return fail(errc::unsupported,
                fmt::format("The tensor \"{}\" has the type {}, which there are no GPU kernels for.", from.name,
                            gguf::to_string(from.type)));
  if (from.shape.size() != 2)
    return fail(errc::unsupported, fmt::format("The tensor \"{}\" has {} dimensions, and GPU kernels take matrices.",
                                               from.name, from.shape.size()));
  const auto rows = from.rows(), columns = from.columns();
  if (part.first_row > rows || part.rows > rows - part.first_row || part.first_column > columns ||
      part.columns > columns - part.first_column)
    return fail(errc::invalid_argument,
                fmt::format("A part of {} x {} at {}, {} is not in the tensor \"{}\" of {} x {}.", part.rows,
                            part.columns, part.first_row, part.first_column, from.name, rows, columns));
  const auto own_rows = static_cast<std::uint32_t>(part.rows ? part.rows : rows - part.first_row);
  const auto own_columns = static_cast<std::uint32_t>(part.columns ? part.columns : columns - part.first_column);
  if (own_columns % block_columns(*format) != 0 || part.first_column % gguf::format_of(from.type).elements != 0)
    return fail(errc::unsupported,
                fmt::format("{} columns from {} of the tensor \"{}\" are not in whole blocks of {}.", own_columns,
                            part.first_column, from.name, block_columns(*format)));
  packed_weights out;
  out.layout_ = layout_of(*format, own_rows, own_columns);
  out.first_row_ = part.first_row;
  out.first_column_ = part.first_column;
  return out;
}

void packed_weights::pack(const gguf::tensor& from, std::span<std::byte> to, std::uint32_t first_row,
                          std::uint32_t rows) const {
  const auto block = gguf::format_of(from.type);
  for (auto row = first_row; row < first_row + rows; ++row) {
    row_parts parts{};
    for (unsigned part = 0; part < most_weight_parts; ++part)
      parts.at[part] = reinterpret_cast<std::uint8_t*>(to.data()) + layout_.parts[part] +
                       row * part_row_bytes(layout_.format, part, layout_.inputs);
    const auto* in =
      reinterpret_cast<bytes_in>(from.row(first_row_ + row).data()) + first_column_ / block.elements * block.bytes;
    for (std::uint32_t column = 0; column < layout_.inputs; column += block.elements, in += block.bytes)
      pack_block(from.type, in, parts);
  }
}

} // namespace troupe::gpu
