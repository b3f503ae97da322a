// A list of kernels as nvcc compiles it: each behind a `__global__` function.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu::cuda {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::max_threads) run_kernel(const __grid_constant__ typename Kernel::arguments given) {
  Kernel::run(given, shared_memory());
}

template <class... Kernels>
kernel_table table_of(kernel_list<Kernels...>) {
  return {{Kernels::name, sizeof(typename Kernels::arguments), alignof(typename Kernels::arguments), Kernels::max_threads,
           reinterpret_cast<const void*>(&run_kernel<Kernels>)}...};
}

} // namespace troupe::gpu::cuda
