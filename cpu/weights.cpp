#include "cpu/weights.hpp"

#include "cpu/work_shares.hpp"

namespace troupe::cpu {

namespace {

std::vector<float> vector_of(const gguf::tensor& tensor) {
  std::vector<float> out(tensor.elements());
  gguf::dequantise(tensor.type, tensor.data, out);
  return out;
}

} // namespace

expected<weights> weights::load(std::shared_ptr<const gguf::file> file, const model_program& program,
                                thread_pool& pool) {
  weights out;
  out.file_ = std::move(file);
  std::size_t bytes = 0;
  for (const auto& op : program.operations) {
    if (!op.bias.empty())
      out.vectors_.emplace(op.bias, vector_of(*out.stored(op.bias)));
    if (op.kind == op_kind::rms_norm)
      out.vectors_.emplace(op.weight, vector_of(*out.stored(op.weight)));
    if (op.kind != op_kind::matmul || out.matrices_.contains(op.weight))
      continue;
    auto matrix = packed_matrix::plan(*out.stored(op.weight), op.slice);
    if (!matrix)
      return tl::unexpected(matrix.error());
    bytes += (matrix->bytes() + 63) / 64 * 64;
    out.matrices_.emplace(op.weight, std::move(*matrix));
  }
  auto memory = page_memory::allocate(bytes, 1, "the model's weights", true);
  if (!memory)
    return tl::unexpected(memory.error());
  out.memory_ = std::move(*memory);
  std::size_t at = 0;
  for (const auto& op : program.operations) // In the order of their use, which the hardware's prefetcher likes.
    if (op.kind == op_kind::matmul && !out.matrices_.at(op.weight).is_placed()) {
      auto& matrix = out.matrices_.at(op.weight);
      matrix.place(out.memory_.as(at));
      at += (matrix.bytes() + 63) / 64 * 64;
    }
  out.pack(pool);
  out.file_->release_pages();
  return out;
}

void weights::pack(thread_pool& pool) {
  pool.run([&](unsigned thread) {
    for (auto& [name, matrix] : matrices_) {
      const auto& from = *stored(name);
      const share own = share_of(matrix.panels(), thread, pool.size());
      for (std::uint32_t p = own.begin; p < own.end; ++p)
        matrix.pack(from, p);
    }
  });
}

} // namespace troupe::cpu
