// A line for each kernel of gpu/kernels/list.hpp: its name, its type as it stands in the symbol of its `__global__` function, the
// threads of a block, and the dynamic shared memory that it is launched with, in bytes. For tools/support/compiled_kernels.py.
#include <cstdio>
#include <typeinfo>

#include "gpu/kernels/list.hpp"

namespace {

template <class Kernel>
void describe() {
  std::size_t shared_bytes = 0;
  if constexpr (requires { Kernel::shared_bytes; })
    shared_bytes = Kernel::shared_bytes;
  std::printf("%s\t_Z%s\t%u\t%zu\n", Kernel::name, typeid(Kernel).name(), Kernel::max_threads, shared_bytes);
}

template <class... Kernels>
void describe_all(troupe::gpu::kernel_list<Kernels...>) {
  (describe<Kernels>(), ...);
}

} // namespace

int main() {
  describe_all(troupe::gpu::all_kernels{});
}
