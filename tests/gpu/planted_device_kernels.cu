#include "gpu/cuda/table.cuh"
#include "tests/gpu/planted_list.hpp"

namespace troupe::gpu::test {

kernel_table planted_device_kernels() {
  return cuda::table_of(right_kernels{});
}

} // namespace troupe::gpu::test
