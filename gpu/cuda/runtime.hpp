// A device of CUDA's.
#pragma once

#include <memory>
#include <string>

#include "gpu/runtime.hpp"

namespace troupe::gpu::cuda {

/// Devices that this process can use; 0 where there is no driver.
int device_count();

struct device_facts {
  std::string name;   ///< "NVIDIA H100 80GB HBM3"
  int capability = 0; ///< 90: sm_90
  int multiprocessors = 0;
  int clock_mhz = 0;                  ///< Of multiprocessors, at most.
  double memory_bytes_per_second = 0; ///< Peak, by clock and width of its memory.
  int driver = 0, runtime = 0;        ///< Versions of CUDA: 13000 is 13.0.
};

/// Errors: unavailable.
expected<device_facts> facts_of(int device);

/// device: from 0. All kernels are loaded, so that a capture can have the first launch of one. Any thread may call what is opened, one at a
/// time: it is bound to the device then. A capture is one thread's.
/// Errors: unavailable (no such device, or it does not answer or cannot run a kernel, with what CUDA says).
expected<std::unique_ptr<runtime>> open(int device, kernel_table kernels);

} // namespace troupe::gpu::cuda
