// A device of CUDA's.
#pragma once

#include <memory>

#include "gpu/runtime.hpp"

namespace troupe::gpu::cuda {

/// Devices that this process can use; 0 where there is no driver.
int device_count();

/// device: from 0. All kernels are loaded, so that a capture can have the first launch of one. Any thread may call what is opened, one at a
/// time: it is bound to the device then. A capture is one thread's.
/// Errors: unavailable (no such device, or it does not answer or cannot run a kernel, with what CUDA says).
expected<std::unique_ptr<runtime>> open(int device, kernel_table kernels);

} // namespace troupe::gpu::cuda
