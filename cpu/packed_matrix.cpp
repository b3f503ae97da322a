#include "cpu/packed_matrix.hpp"

#include <cstring>

#include <fmt/format.h>

#include "model/gguf/half.hpp"

namespace troupe::cpu {

namespace {

using gguf::tensor_type;

panel_kind kind_of(tensor_type type) {
  switch (type) {
  case tensor_type::q4_0:
  case tensor_type::q4_1:
  case tensor_type::q4_k:
    return panel_kind::q4;
  case tensor_type::q8_0:
  case tensor_type::q5_0:
    return panel_kind::q8;
  case tensor_type::q5_1:
  case tensor_type::q5_k:
    return panel_kind::q8_min;
  case tensor_type::q6_k:
    return panel_kind::q8_halves;
  case tensor_type::f32:
    return panel_kind::f32;
  case tensor_type::f16:
    return panel_kind::f16;
  case tensor_type::bf16:
    return panel_kind::bf16;
  }
  return panel_kind::f32;
}

/// Formats whose scales are halves in the file stay so. (Q4_0's are not: its min, -8 * scale, might not be one.)
bool has_half_scales(tensor_type type) {
  return type == tensor_type::q4_1 || type == tensor_type::q8_0 || type == tensor_type::q5_0 ||
         type == tensor_type::q5_1;
}

/// Stored blocks of 32 begin with their scale as a half, and those of Q4_1 and Q5_1 have the min as a half after it.
bool scale_comes_first(tensor_type type) {
  return has_half_scales(type);
}

std::size_t float_bytes(panel_kind kind) {
  return kind == panel_kind::f32 ? 4 : 2;
}

} // namespace

std::size_t packed_matrix::quant_stride() const {
  if (!is_quantised(kind_))
    return std::size_t{columns_} * panel_columns * float_bytes(kind_);
  return std::size_t{columns_} / block_columns * quant_bytes(kind_);
}

std::size_t packed_matrix::scale_stride() const {
  if (!is_quantised(kind_))
    return 0;
  return std::size_t{columns_} / block_columns * scale_vectors(kind_) * panel_columns * (half_scales_ ? 2 : 4);
}

expected<packed_matrix> packed_matrix::plan(const gguf::tensor& from, const weight_slice& part) {
  packed_matrix out;
  out.kind_ = kind_of(from.type);
  out.half_scales_ = has_half_scales(from.type);
  out.rows_ = part.rows ? part.rows : static_cast<std::uint32_t>(from.rows());
  out.columns_ = part.columns ? part.columns : static_cast<std::uint32_t>(from.columns());
  out.first_row_ = part.first_row;
  out.first_column_ = part.first_column;
  if (is_quantised(out.kind_) && (out.columns_ % block_columns != 0 || out.first_column_ % block_columns != 0))
    return fail(errc::unsupported, fmt::format("{} columns of the tensor \"{}\" are no multiple of {}.", out.columns_,
                                               from.name, block_columns));
  return out;
}

void packed_matrix::place(std::uint8_t* memory) {
  quants_ = memory;
  scales_ = memory + quants_bytes();
}

panel packed_matrix::view(std::uint32_t index) const {
  return {.kind = kind_,
          .half_scales = half_scales_,
          .columns = columns_,
          .quants = quants_ + index * quant_stride(),
          .scales = scales_ + index * scale_stride()};
}

void packed_matrix::pack(const gguf::tensor& from, std::uint32_t index) {
  auto* quants = quants_ + index * quant_stride();
  auto* scales = scales_ + index * scale_stride();
  for (unsigned lane = 0; lane < panel_columns; ++lane) {
    const std::uint32_t row = index * panel_columns + lane;
    if (row >= rows_) // Zero pages already: scale 0.
      return;
    if (is_quantised(kind_))
      pack_quantised(from, first_row_ + row, lane, quants, scales);
    else
      pack_float(from, first_row_ + row, lane, quants);
  }
}

void packed_matrix::pack_float(const gguf::tensor& from, std::uint32_t row, unsigned lane, std::uint8_t* values) {
  const std::size_t size = float_bytes(kind_);
  const std::byte* source = from.row(row).data() + first_column_ * size;
  for (std::uint32_t k = 0; k < columns_; ++k)
    std::memcpy(values + (std::size_t{k} * panel_columns + lane) * size, source + k * size, size);
}

void packed_matrix::pack_quantised(const gguf::tensor& from, std::uint32_t row, unsigned lane, std::uint8_t* quants,
                                   std::uint8_t* scales) {
  const auto source = from.row(row);
  const std::size_t step = quant_bytes(kind_);
  const std::uint32_t blocks = columns_ / block_columns, first = first_column_ / block_columns;
  const unsigned vectors = scale_vectors(kind_);
  const std::size_t stored = gguf::format_of(from.type).bytes;
  for (std::uint32_t b = 0; b < blocks; ++b, quants += step) {
    const std::byte* at = source.data() + (first + b) * stored;
    if (from.type == tensor_type::q4_1) { // The common case, whose nibbles lie as the panel wants them already.
      for (unsigned v = 0; v < 4; ++v)
        std::memcpy(quants + v * 64 + lane * 4, at + 4 + v * 4, 4);
    } else {
      const auto block = unpack(from.type, source.data(), first + b);
      for (unsigned i = 0; i < 32; ++i) {
        const auto q = static_cast<std::uint8_t>(block.quants[i]);
        auto& to = quants[i % (kind_ == panel_kind::q4 ? 16 : 32) / 4 * 64 + lane * 4 + i % 4];
        to = static_cast<std::uint8_t>(kind_ != panel_kind::q4 ? q ^ 0x80 : i < 16 ? q : to | q << 4);
      }
      if (!half_scales_) {
        const float numbers[2] = {block.scale[0], kind_ == panel_kind::q8_halves ? block.scale[1] : block.min};
        for (unsigned v = 0; v < vectors; ++v)
          std::memcpy(scales + ((std::size_t{b} * vectors + v) * panel_columns + lane) * 4, &numbers[v], 4);
      }
    }
    if (scale_comes_first(from.type))
      for (unsigned v = 0; v < vectors; ++v)
        std::memcpy(scales + ((std::size_t{b} * vectors + v) * panel_columns + lane) * 2, at + v * 2, 2);
  }
}

} // namespace troupe::cpu
