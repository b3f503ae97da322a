#include <algorithm>

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

expected<std::vector<gpu_device>> cuda_devices(unsigned most) {
  std::vector<gpu_device> found;
  // The first one is always asked for, so that the error says why there is none.
  for (int number = 0; number == 0 || number < std::min(gpu::cuda::device_count(), static_cast<int>(most));
       ++number) {
    auto opened = gpu::cuda::open(number, gpu::device_kernels());
    if (!opened)
      return tl::unexpected(opened.error());
    auto facts = gpu::cuda::facts_of(number);
    const auto memory = (*opened)->memory();
    if (!facts || !memory)
      return tl::unexpected(facts ? memory.error() : facts.error());
    found.push_back({std::move(facts->name), memory->free_bytes, memory->total_bytes});
  }
  return found;
}

} // namespace troupe
