// A file's matrix as the device has it (weight_layout.hpp): packed once, at load, on the host.
//
// Every weight keeps exactly the value that its file gives it, but for float32, which becomes bf16. The bytes are no
// more than the file's, but for at most 255 behind each part. Immutable once planned; used by any thread.
#pragma once

#include <cstddef>
#include <span>

#include "gpu/weights/weight_layout.hpp"
#include "model/architecture.hpp"
#include "model/gguf/file.hpp"
#include "protocol/error.hpp"

namespace troupe::gpu {

class packed_weights {
public:
  /// For a tensor of [N rows, K columns], or a part of it. Errors: unsupported (a type without a format here, columns
  /// that are not whole blocks, a tensor that is no matrix), invalid_argument (a part that the tensor does not have).
  static expected<packed_weights> plan(const gguf::tensor& from, const weight_slice& part = {});

  const weight_layout& layout() const { return layout_; }

  /// Writes all parts of a buffer of `layout().bytes`; what lies between parts is left as it is.
  void pack(const gguf::tensor& from, std::span<std::byte> to) const { pack(from, to, 0, layout_.outputs); }
  /// Some of the rows; different rows may be packed by different threads.
  void pack(const gguf::tensor& from, std::span<std::byte> to, std::uint32_t first_row, std::uint32_t rows) const;

private:
  weight_layout layout_;
  std::uint32_t first_row_ = 0, first_column_ = 0; ///< In the tensor.
};

} // namespace troupe::gpu
