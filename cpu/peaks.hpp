// What this machine can do at most, measured: the roof that bench/kernels and `troupe bench roofline` compare with.
#pragma once

#include <cstddef>

#include "cpu/instruction_set.hpp"

namespace troupe::cpu {

/// Of all threads together, a second.
struct machine_peaks {
  double byte_products = 0;  ///< Products of two bytes, added up in 32 bits.
  double float_products = 0; ///< Fused multiply-adds of float32.
  double read_bytes = 0;     ///< Reading as much memory as was asked for, again and again.
};

/// Takes about a second. `bytes` of memory are allocated and read; the best of several rounds counts, since neighbours
/// on the machine only ever make it slower. Throws std::bad_alloc.
machine_peaks measure_peaks(instruction_set instructions, unsigned threads, std::size_t bytes);

} // namespace troupe::cpu
