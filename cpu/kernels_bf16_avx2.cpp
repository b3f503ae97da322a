// Products in bfloat16 for AVX2 with FMA and F16C. This file alone is compiled for it; see bf16_kernels.hpp.
#include "cpu/bf16_kernels.hpp"

#include "cpu/lanes_avx2.hpp"

#include "cpu/panel_lanes.hpp"

#include "cpu/bf16_denormals_x86.hpp"

namespace {

using call_setup = denormals_as_zeros;

constexpr unsigned row_pieces[] = {6, 4, 2, 1}; // 6, 6 and 4 make a tile: none reaches beyond it.
constexpr unsigned both_chains_up_to = 2;

inline __attribute__((always_inline)) void add_product(lanes& to, lanes weights, const float* x) {
  to = fma(weights, lanes::all(*x), to);
}

inline __m256 rounded(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a), exponent = _mm256_set1_epi32(0x7f800000);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i tiny = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), _mm256_setzero_si256());
  const __m256i sign = _mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0x80000000)));
  const __m256i bfloat = _mm256_and_si256(_mm256_blendv_epi8(up, sign, tiny), _mm256_set1_epi32(-65536));
  return _mm256_blendv_ps(_mm256_castsi256_ps(bfloat), _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
                          _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
inline lanes rounded(lanes a) {
  return {rounded(a.a), rounded(a.b)};
}

inline __m256 rounded_normal(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  return _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(-65536)));
}
inline lanes rounded_normal(lanes a) {
  return {rounded_normal(a.a), rounded_normal(a.b)};
}
inline __m256 plain_nan(__m256 a) {
  return _mm256_blendv_ps(a, _mm256_set1_ps(__builtin_nanf("")), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
inline lanes plain_nan(lanes a) {
  return {plain_nan(a.a), plain_nan(a.b)};
}

struct quads {
  __m256i a, b;
};
inline quads load_quads(const std::uint8_t* p) {
  const auto* from = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
}
inline __attribute__((always_inline)) __m256 low_bits(__m256i a, unsigned shift, int mask, int less) {
  const __m256i integers = _mm256_and_si256(_mm256_srli_epi32(a, static_cast<int>(shift)), _mm256_set1_epi32(mask));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(integers, _mm256_set1_epi32(less)));
}
inline __attribute__((always_inline)) lanes nibbles(quads a, unsigned shift) {
  return {low_bits(a.a, shift, 15, 0), low_bits(a.b, shift, 15, 0)};
}
inline __attribute__((always_inline)) lanes bytes(quads a, unsigned shift) {
  return {low_bits(a.a, shift, 255, 128), low_bits(a.b, shift, 255, 128)};
}

} // namespace

#include "cpu/bf16_rows.hpp"

#include "cpu/bf16_products.hpp"

namespace troupe::cpu {

constinit const bf16_kernels bf16_avx2_kernels = bf16_table;

} // namespace troupe::cpu
