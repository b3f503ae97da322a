// Products in bfloat16 for AMX, with AVX-512 and its conversion to bfloat16 around it. This file alone is compiled for it;
// see bf16_kernels.hpp.
#include "cpu/bf16_kernels.hpp"

#include "cpu/bf16_lanes_avx512.hpp"

namespace {

/// VCVTNE2PS2BF16 rounds to the nearest even and takes denormals as zeros, whatever the MXCSR says.
inline __m512i pairs(lanes even, lanes odd) {
  const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd.v, even.v));
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, both);
}

/// In assembly, since g++ 12's intrinsics do not tell the compiler that a load reads memory.
struct tile_unit {
  static void configure(const auto& what) { __asm__ volatile("ldtilecfg %0" : : "m"(what) : "memory"); }
  static void release() { __asm__ volatile("tilerelease" : : : "memory"); }
  template <unsigned Tile>
  static void load(const void* from, std::size_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <unsigned Tile>
  static void store(void* to, std::size_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
  }
  template <unsigned C, unsigned A, unsigned B>
  static void dot() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

} // namespace

#include "cpu/bf16_tiles.hpp"

#include "cpu/bf16_products.hpp"

namespace troupe::cpu {

constinit const bf16_kernels bf16_amx_kernels = bf16_table;

} // namespace troupe::cpu
