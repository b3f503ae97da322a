// A model's weights on a device, and the products with them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpu/kernels/weight_formats.hpp"
#include "gpu/runtime.hpp"
#include "gpu/weights/packed_weights.hpp"
#include "model/architecture.hpp"
#include "model/gguf/file.hpp"

namespace troupe::gpu {

/// More rows than this are a large product, unless a row's bits must not depend on that.
inline constexpr std::uint32_t skinny_rows = 64;

/// Copies what the host has to device memory, and waits for it. Errors: those of the runtime.
expected<void> upload(runtime& device, stream_id stream, std::span<const std::byte> from, address to);

/// A weight of a program as the device has it.
struct stored_weight {
  const gguf::tensor* from = nullptr;
  weight_slice slice;
  std::optional<packed_weights> matrix; ///< None: a vector, in float32.
  std::size_t bytes = 0;
};

/// Each once, by the order in which a program has them. Errors: unsupported (a tensor's type).
expected<std::vector<stored_weight>> stored_weights(const gguf::file& file, const model_program& program);

/// what_for: for the error's sentence.
using allocator = std::function<expected<address>(std::size_t bytes, const std::string& what_for)>;

struct device_product {
  address x = 0; ///< bf16 [rows, inputs]
  address y = 0; ///< float32 [rows, stride]
  std::uint32_t rows = 0, stride = 0;
  bool accumulates = false;
  bool batch_invariant = false;
};

class device_weights {
public:
  /// For weights that are unpacked for a large product, some rows at a time.
  static constexpr std::uint64_t unpacked_bytes = std::uint64_t{64} << 20;

  /// Matrices as the file has them, in the device's layout; vectors in float32. Errors: those of `allocate`, and of stored_weights.
  static expected<device_weights> load(runtime& device, stream_id stream, const gguf::file& file,
                                       const model_program& program, const allocator& allocate);
  /// Where `unpacked_bytes` are, before the first large product.
  void unpack_at(address unpacked) { unpacked_ = unpacked; }

  /// y = x * transpose(weight of the operation) + its bias.
  expected<void> multiply(runtime& device, stream_id stream, const operation& op, const device_product& what) const;
  /// hidden [rows, width] = the weight's row of each token; 0 where another rank has it. chosen: what `awaited_token`s stand for.
  expected<void> embed(runtime& device, stream_id stream, const operation& op, address tokens, address chosen,
                       address hidden, std::uint32_t rows) const;
  address vector(const std::string& name) const { return vectors_.at(name); }

private:
  expected<void> multiply_many(runtime& device, stream_id stream, const device_matrix& matrix, address bias,
                               const device_product& what) const;

  std::map<std::string, device_matrix> matrices_;
  std::map<std::string, address> vectors_;
  address unpacked_ = 0;
};

} // namespace troupe::gpu
