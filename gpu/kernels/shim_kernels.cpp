#include "gpu/kernels/list.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/table.hpp"

namespace troupe::gpu {

kernel_table shim_kernels() {
  return shim::table_of(all_kernels{});
}

} // namespace troupe::gpu
