#include "gpu/backend/gpu_backend.hpp"
#include "gpu/backends.hpp"
#include "gpu/cuda/runtime.hpp"
#include "gpu/kernels/tables.hpp"

namespace troupe {

expected<std::unique_ptr<backend>> make_cuda_backend(std::shared_ptr<const gguf::file> file,
                                                     const model_program& program, const backend_options& options,
                                                     int device) {
  auto opened = gpu::cuda::open(device, gpu::device_kernels());
  if (!opened)
    return tl::unexpected(opened.error());
  return gpu::load_backend(std::move(*opened), "cuda", std::move(file), program, options);
}

} // namespace troupe
