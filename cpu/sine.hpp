// sin and cos with the same bits on every machine: the C library's may depend on the CPU.
#pragma once

namespace troupe::cpu {

struct sine_cosine {
  double sine, cosine;
};

/// For |x| below 2^20, within 1e-15 or so; more than float32 results need.
sine_cosine sine_and_cosine(double x);

} // namespace troupe::cpu
