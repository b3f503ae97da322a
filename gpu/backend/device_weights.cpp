#include "gpu/backend/device_weights.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "gpu/kernels/weight_kernels.hpp"
#include "gpu/weights/packed_weights.hpp"

namespace troupe::gpu {

namespace {

expected<address> reserve(runtime& device, std::size_t bytes, const std::string& name) {
  auto at = device.allocate(bytes);
  if (!at && at.error().code == errc::out_of_memory) {
    const auto memory = device.memory();
    return fail(errc::out_of_memory,
                fmt::format("The device has no {} MiB for {}: {} MiB of {} are free.", (bytes >> 20) + 1, name,
                            memory ? memory->free_bytes >> 20 : 0, memory ? memory->total_bytes >> 20 : 0));
  }
  return at;
}

/// What an operation needs of a bias: as many numbers as the weight has rows here.
std::vector<float> bias_of(const gguf::tensor& from, const weight_slice& slice) {
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

expected<device_weights> device_weights::load(runtime& device, stream_id stream, const gguf::file& file,
                                              const model_program& program) {
  device_weights out;
  const auto put = [&](std::span<const std::byte> from, const std::string& name) -> expected<address> {
    auto at = reserve(device, from.size(), name);
    if (at)
      if (auto done = upload(device, stream, from, *at); !done)
        return tl::unexpected(done.error());
    out.bytes_ += from.size();
    return at;
  };
  const auto put_vector = [&](const std::string& name, const weight_slice& slice) -> expected<void> {
    if (name.empty() || out.vectors_.contains(name))
      return {};
    const auto values = bias_of(*file.find_tensor(name), slice);
    return put(std::as_bytes(std::span(values)), name).map([&](address at) { out.vectors_.emplace(name, at); });
  };
  std::vector<std::byte> packed;
  for (const auto& op : program.operations) {
    const auto vector = op.kind == op_kind::rms_norm ? put_vector(op.weight, {}) : put_vector(op.bias, op.slice);
    if (!vector)
      return tl::unexpected(vector.error());
    if ((op.kind != op_kind::matmul && op.kind != op_kind::embed) || out.matrices_.contains(op.weight))
      continue;
    const auto& tensor = *file.find_tensor(op.weight);
    const auto planned = packed_weights::plan(tensor, op.slice);
    if (!planned)
      return tl::unexpected(planned.error());
    packed.assign(planned->layout().bytes, std::byte{});
    planned->pack(tensor, packed);
    const auto at = put(packed, op.weight);
    if (!at)
      return tl::unexpected(at.error());
    out.matrices_.emplace(op.weight, device_matrix{{*at}, planned->layout()});
  }
  return reserve(device, unpacked_bytes, "weights that are unpacked for prompts").map([&](address at) {
    out.unpacked_ = at;
    return std::move(out);
  });
}

expected<void> device_weights::multiply(runtime& device, stream_id stream, const operation& op,
                                        const device_product& what) const {
  const auto& matrix = matrices_.at(op.weight);
  const address bias = op.bias.empty() ? 0 : vectors_.at(op.bias);
  if (what.rows > skinny_rows && !what.batch_invariant)
    return multiply_many(device, stream, matrix, bias, what);
  const auto how = plan_product(matrix.layout, what.rows);
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
