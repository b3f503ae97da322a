#include "gpu/backend/device_weights.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "gpu/kernels/weight_kernels.hpp"

namespace troupe::gpu {

namespace {

/// What an operation needs of a bias: as many numbers as the weight has rows here.
std::vector<float> vector_of(const gguf::tensor& from, const weight_slice& slice) {
  std::vector<float> all(from.elements());
  gguf::dequantise(from.type, from.data, all);
  if (slice.rows == 0)
    return all;
  const auto first = all.begin() + slice.first_row;
  return {first, first + slice.rows};
}

} // namespace

expected<void> upload(runtime& device, stream_id stream, std::span<const std::byte> from, address to) {
  constexpr std::size_t at_once = std::size_t{16} << 20;
  const auto pinned = device.allocate_pinned(std::min(at_once, from.size()));
  if (!pinned)
    return tl::unexpected(pinned.error());
  for (std::size_t done = 0; done < from.size(); done += at_once) {
    const auto bytes = std::min(at_once, from.size() - done);
    std::memcpy(reinterpret_cast<void*>(*pinned), from.data() + done, bytes);
    if (auto copied = device.copy(stream, to + done, *pinned, bytes); !copied)
      return copied;
    if (auto ended = device.synchronize(stream); !ended)
      return ended;
  }
  return device.free_pinned(*pinned);
}

expected<std::vector<stored_weight>> stored_weights(const gguf::file& file, const model_program& program) {
  std::vector<stored_weight> out;
  std::set<std::string> known;
  for (const auto& op : program.operations) {
    const bool is_norm = op.kind == op_kind::rms_norm;
    const auto& vector = is_norm ? op.weight : op.bias;
    if (!vector.empty() && known.insert(vector).second) {
      const auto* tensor = file.find_tensor(vector);
      const auto slice = is_norm ? weight_slice{} : op.slice;
      out.push_back({tensor, slice, {}, (slice.rows == 0 ? tensor->elements() : slice.rows) * sizeof(float)});
    }
    if ((op.kind != op_kind::matmul && op.kind != op_kind::embed) || !known.insert(op.weight).second)
      continue;
    const auto* tensor = file.find_tensor(op.weight);
    auto planned = packed_weights::plan(*tensor, op.slice);
    if (!planned)
      return tl::unexpected(planned.error());
    const auto bytes = planned->layout().bytes;
    out.push_back({tensor, op.slice, std::move(*planned), bytes});
  }
  return out;
}

expected<device_weights> device_weights::load(runtime& device, stream_id stream, const gguf::file& file,
                                              const model_program& program, const allocator& allocate) {
  device_weights out;
  const auto stored = stored_weights(file, program);
  if (!stored)
    return tl::unexpected(stored.error());
  std::vector<std::byte> packed;
  for (const auto& each : *stored) {
    const std::string name(each.from->name);
    const auto at = allocate(each.bytes, name);
    if (!at)
      return tl::unexpected(at.error());
    packed.assign(each.bytes, std::byte{});
    if (each.matrix) {
      each.matrix->pack(*each.from, packed);
      out.matrices_.emplace(name, device_matrix{{*at}, each.matrix->layout()});
    } else {
      const auto values = vector_of(*each.from, each.slice);
      std::memcpy(packed.data(), values.data(), each.bytes);
      out.vectors_.emplace(name, *at);
    }
    if (auto done = upload(device, stream, packed, *at); !done)
      return tl::unexpected(done.error());
  }
  return out;
}

expected<void> device_weights::multiply(runtime& device, stream_id stream, const operation& op,
                                        const device_product& what) const {
  const auto& matrix = matrices_.at(op.weight);
  const address bias = op.bias.empty() ? 0 : vectors_.at(op.bias);
  if (what.rows > skinny_rows && !what.batch_invariant)
    return multiply_many(device, stream, matrix, bias, what);
  const bool by_lanes = what.rows <= most_product_rows && !what.batch_invariant;
  const auto how = by_lanes ? plan_product(matrix.layout, what.rows) : plan_skinny_product(matrix.layout, what.rows);
  const product_arguments arguments{matrix, {what.x}, {bias}, {what.y}, what.rows, what.stride, what.accumulates};
  return device.launch(stream, how.kernel, how.shape, &arguments);
}

/// As many rows of the matrix at a time as there is room for when they are unpacked.
expected<void> device_weights::multiply_many(runtime& device, stream_id stream, const device_matrix& matrix,
                                             address bias, const device_product& what) const {
  const auto& layout = matrix.layout;
  if (bias != 0) {
    const add_bias::arguments arguments{{bias}, {what.y}, layout.outputs, what.stride, what.accumulates};
    if (auto done = device.launch(stream, kernel_index<add_bias, all_kernels>::value,
                                  {{what.rows}, add_bias::max_threads, 0}, &arguments);
        !done)
      return done;
  }
  const auto row_bytes = std::size_t{layout.inputs} * sizeof(bf16);
  constexpr std::uint32_t whole = 64; // So that what is cut stays aligned.
  const auto at_once = static_cast<std::uint32_t>(unpacked_bytes / row_bytes / whole * whole);
  for (std::uint32_t first = 0; first < layout.outputs; first += at_once) {
    const auto outputs = std::min(at_once, layout.outputs - first);
    address weights = matrix.bytes.at + layout.parts[0] + first * row_bytes;
    if (layout.format != weight_format::bf16) {
      weights = unpacked_;
      const auto how = plan_dequantise(layout, outputs);
      const dequantise_arguments arguments{matrix, {unpacked_}, first, outputs};
      if (auto done = device.launch(stream, how.kernel, how.shape, &arguments); !done)
        return done;
    }
    matrix_product product;
    product.rows = what.x;
    product.weights = weights;
    product.sums = what.y + first * sizeof(float);
    product.row_count = what.rows;
    product.outputs = outputs;
    product.inputs = layout.inputs;
    product.stride = what.stride;
    product.accumulates = what.accumulates || bias != 0;
    if (auto done = device.multiply(stream, product); !done)
      return done;
  }
  return {};
}

expected<void> device_weights::embed(runtime& device, stream_id stream, const operation& op, address tokens,
                                     address chosen, address hidden, std::uint32_t rows) const {
  const auto& matrix = matrices_.at(op.weight);
  const auto how = plan_embed(matrix.layout, rows);
  const embed_arguments arguments{matrix, {tokens}, {chosen}, {hidden}, op.slice.first_row};
  return device.launch(stream, how.kernel, how.shape, &arguments);
}

} // namespace troupe::gpu
