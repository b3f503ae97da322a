// A weight matrix in the panels that the kernels read (kernels.hpp), packed from a file's tensor once, at load.
//
// A weight keeps exactly the value that its file gives it. Immutable once packed; read by any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels.hpp"
#include "model/architecture.hpp"
#include "model/gguf/file.hpp"
#include "protocol/error.hpp"

namespace troupe::cpu {

class packed_matrix {
public:
  /// The panels of a tensor of [N rows, K columns], or of a part of it, without memory yet. Errors: unsupported (columns
  /// that are not whole blocks of 32 with a quantised type).
  static expected<packed_matrix> plan(const gguf::tensor& from, const weight_slice& part = {});

  /// Bytes that `place` wants: zeroed, aligned to 64, and outliving the matrix.
  std::size_t bytes() const { return quants_bytes() + panels() * scale_stride(); }
  void place(std::uint8_t* memory);
  bool is_placed() const { return quants_ != nullptr; }

  /// Fills panel `index`; different panels may be filled by different threads.
  void pack(const gguf::tensor& from, std::uint32_t index);

  panel_kind kind() const { return kind_; }
  std::uint32_t rows() const { return rows_; }
  std::uint32_t columns() const { return columns_; }
  std::uint32_t panels() const { return (rows_ + panel_columns - 1) / panel_columns; }
  panel view(std::uint32_t index) const;

private:
  void pack_quantised(const gguf::tensor& from, std::uint32_t row, unsigned lane, std::uint8_t* quants,
                      std::uint8_t* scales);
  void pack_float(const gguf::tensor& from, std::uint32_t row, unsigned lane, std::uint8_t* values);
  std::size_t quant_stride() const; ///< Bytes of one panel.
  std::size_t scale_stride() const;
  std::size_t quants_bytes() const { return (panels() * quant_stride() + 63) / 64 * 64; }

  panel_kind kind_ = panel_kind::f32;
  bool half_scales_ = false;
  std::uint32_t rows_ = 0, columns_ = 0, first_row_ = 0, first_column_ = 0; ///< The last two: in the tensor.
  std::uint8_t* quants_ = nullptr;
  std::uint8_t* scales_ = nullptr;
};

/// 32 weights of a quantised row, taken apart: weight i = scale[i / 16] * quants[i] + min.
struct quant_block {
  std::int8_t quants[32];
  float scale[2]; ///< The same twice where the format has one for 32.
  float min;
};

/// Block `index` of 32 columns of a row stored as `type`, one of the quantised types.
quant_block unpack(gguf::tensor_type type, const std::byte* row, std::uint32_t index);

} // namespace troupe::cpu
