#include "gpu/cuda/table.cuh"
#include "gpu/kernels/list.hpp"
#include "gpu/kernels/tables.hpp"

namespace troupe::gpu {

kernel_table device_kernels() {
  return cuda::table_of(all_kernels{});
}

} // namespace troupe::gpu
