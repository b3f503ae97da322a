// A device of CUDA's.
#pragma once

#include <memory>

#include "gpu/runtime.hpp"

namespace troupe::gpu::cuda {

/// Devices that this process can use; 0 where there is no driver.
int device_count();

/// device: from 0. The calling thread is bound to it. Errors: unavailable (no such device, or it does not answer, with what CUDA says).
expected<std::unique_ptr<runtime>> open(int device, kernel_table kernels);

} // namespace troupe::gpu::cuda
