// Products in bfloat16 for AVX-512. This file alone is compiled for it; see bf16_kernels.hpp.
#include "cpu/bf16_kernels.hpp"

#include "cpu/bf16_lanes_avx512.hpp"

namespace {

using call_setup = denormals_as_zeros;

constexpr unsigned row_pieces[] = {8, 4, 2, 1};
constexpr unsigned both_chains_up_to = 8;

/// The compiler would load each activation with an instruction of its own, hence the assembly.
inline __attribute__((always_inline)) void add_product(lanes& to, lanes weights, const float* x) {
  __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(to.v) : "v"(weights.v), "m"(*x));
}

} // namespace

#include "cpu/bf16_rows.hpp"

#include "cpu/bf16_products.hpp"

namespace troupe::cpu {

constinit const bf16_kernels bf16_avx512_kernels = bf16_table;

} // namespace troupe::cpu
