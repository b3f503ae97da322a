// The kernels as each compiler has them, by their numbers in gpu/kernels/list.hpp.
#pragma once

#include "gpu/kernel.hpp"

namespace troupe::gpu {

kernel_table shim_kernels();
/// Only in builds with CUDA.
kernel_table device_kernels();

} // namespace troupe::gpu
