// What bench/gpu measures of a device below the backend.
#pragma once

#include <chrono>

#include <nlohmann/json.hpp>

#include "gpu/runtime.hpp"

namespace troupe::bench {

using clock_type = std::chrono::steady_clock;

inline double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

/// Allocating, and copies to the device and back from pinned memory. small: of little.
nlohmann::ordered_json measure_transfers(gpu::runtime& on, bool small);

/// Each kernel that a step's time is made of. peak: bytes a second of the device's memory at most; 0: not known.
nlohmann::ordered_json measure_kernels(gpu::runtime& on, bool small, double peak);

} // namespace troupe::bench
