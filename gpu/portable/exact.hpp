// Arithmetic with the same bits on devices and on the host: each function is one operation, rounded once, to nearest.
//
// nvcc fuses a product and a sum that stand together, which rounds once where a CPU without such an instruction rounds twice; these
// are never fused. The shim's kernels are compiled with -ffp-contract=off for the same reason.
#pragma once

#include <bit>

#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

/// Of a word that is not 0: the place of its lowest bit.
TROUPE_GPU unsigned lowest_bit(unsigned word) {
#if defined(__CUDACC__)
  return static_cast<unsigned>(__ffs(static_cast<int>(word))) - 1;
#else
  return static_cast<unsigned>(std::countr_zero(word));
#endif
}

namespace rounded {

#if defined(__CUDACC__)
TROUPE_GPU float add(float a, float b) {
  return __fadd_rn(a, b);
}
TROUPE_GPU float subtract(float a, float b) {
  return __fsub_rn(a, b);
}
TROUPE_GPU float multiply(float a, float b) {
  return __fmul_rn(a, b);
}
TROUPE_GPU float divide(float a, float b) {
  return __fdiv_rn(a, b);
}
TROUPE_GPU double add(double a, double b) {
  return __dadd_rn(a, b);
}
TROUPE_GPU double subtract(double a, double b) {
  return __dsub_rn(a, b);
}
TROUPE_GPU double multiply(double a, double b) {
  return __dmul_rn(a, b);
}
TROUPE_GPU double divide(double a, double b) {
  return __ddiv_rn(a, b);
}
#else
template <class Real>
Real add(Real a, Real b) {
  return a + b;
}
template <class Real>
Real subtract(Real a, Real b) {
  return a - b;
}
template <class Real>
Real multiply(Real a, Real b) {
  return a * b;
}
template <class Real>
Real divide(Real a, Real b) {
  return a / b;
}
#endif

} // namespace rounded

} // namespace troupe::gpu
