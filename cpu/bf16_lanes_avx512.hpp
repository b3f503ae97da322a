// Weights and bfloat16 in AVX-512 registers; see bf16_products.hpp for what each function means.
#include "cpu/lanes_avx512.hpp"

#include "cpu/panel_lanes.hpp"

#include "cpu/bf16_denormals_x86.hpp"

namespace {

inline lanes rounded(lanes a) {
  const __m512i bits = _mm512_castps_si512(a.v), low = _mm512_set1_epi32(0x7fff);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, low), odd);
  const __mmask16 normal = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
  const __m512i sign = _mm512_set1_epi32(static_cast<int>(0x80000000)), high = _mm512_set1_epi32(-65536);
  const __m512i bfloat = _mm512_and_si512(_mm512_mask_mov_epi32(_mm512_and_si512(bits, sign), normal, up), high);
  const __mmask16 none = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return {_mm512_castsi512_ps(_mm512_mask_mov_epi32(bfloat, none, _mm512_set1_epi32(0x7fc00000)))};
}

inline lanes rounded_normal(lanes a) {
  const __m512i bits = _mm512_castps_si512(a.v), one = _mm512_set1_epi32(1), high = _mm512_set1_epi32(-65536);
  const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
  const __m512i up = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_add_epi32(up, odd, up, one), high))};
}
inline lanes plain_nan(lanes a) {
  return {_mm512_mask_mov_ps(a.v, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), _mm512_set1_ps(__builtin_nanf("")))};
}

struct quads {
  __m512i v;
};
inline quads load_quads(const std::uint8_t* p) {
  return {_mm512_loadu_si512(p)};
}
/// A permutation takes the lowest four bits of each index: a table of sixteen floats.
inline __attribute__((always_inline)) lanes nibbles(quads a, unsigned shift) {
  const __m512 floats = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_permutexvar_ps(_mm512_srli_epi32(a.v, shift), floats)};
}
inline __attribute__((always_inline)) lanes bytes(quads a, unsigned shift) {
  const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(a.v, shift), _mm512_set1_epi32(255));
  return {_mm512_cvtepi32_ps(_mm512_sub_epi32(byte, _mm512_set1_epi32(128)))};
}

} // namespace
