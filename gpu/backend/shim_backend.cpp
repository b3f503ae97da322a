#include "gpu/backend/gpu_backend.hpp"
#include "gpu/backends.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"

namespace troupe {

expected<std::unique_ptr<backend>> make_shim_backend(std::shared_ptr<const gguf::file> file,
                                                     const model_program& program, const backend_options& options,
                                                     const shim_backend_options& shim) {
  auto device = std::make_unique<gpu::shim::shim_runtime>(
    gpu::shim_kernels(), gpu::shim::shim_options{.memory_bytes = shim.memory_bytes,
                                                 .seed = shim.seed,
                                                 .finds_global_races = shim.finds_global_races});
  return gpu::load_backend(std::move(device), "cuda-shim", std::move(file), program, options);
}

std::string gpu_arithmetic(const std::string& device, bool batch_invariant) {
  return device + (batch_invariant ? "-bf16-invariant" : "-bf16");
}

std::uint64_t gpu_kv_block_bytes(const model_program& program) {
  return kv_block_bytes(program, sizeof(gpu::bf16));
}

} // namespace troupe
