// A list of kernels as the shim runs it: only for translation units that have the kernels' source, compiled by the host's compiler.
#pragma once

#include "gpu/portable/portable.hpp"
#include "gpu/shim/runtime.hpp"

namespace troupe::gpu::shim {

template <class Kernel>
void run_kernel(const void* arguments) {
  Kernel::run(*static_cast<const typename Kernel::arguments*>(arguments), shared_memory());
}

template <class... Kernels>
kernel_table table_of(kernel_list<Kernels...>) {
  return {{Kernels::name, sizeof(typename Kernels::arguments), alignof(typename Kernels::arguments),
           Kernels::max_threads, reinterpret_cast<const void*>(&run_kernel<Kernels>)}...};
}

} // namespace troupe::gpu::shim
