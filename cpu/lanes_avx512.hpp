// Sixteen floats in one AVX-512 register; see kernels_math.hpp for what each operation means.
#include <immintrin.h>

namespace {

struct lanes {
  __m512 v;

  static lanes zero() { return {_mm512_setzero_ps()}; }
  static lanes all(float x) { return {_mm512_set1_ps(x)}; }
  static lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static lanes load_first(const float* p, unsigned n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  static lanes load_half(const std::uint8_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static lanes load_bfloat(const std::uint16_t* p) {
    const auto wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
  }
  static lanes load_int8(const std::int8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_first(float* p, unsigned n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  /// The lowest byte of each lane's bits.
  void store_low_bytes(std::int8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(v)));
  }

  static __mmask16 first(unsigned n) { return static_cast<__mmask16>((1u << n) - 1); }
};

inline lanes operator+(lanes a, lanes b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline lanes operator-(lanes a, lanes b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline lanes operator*(lanes a, lanes b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline lanes operator/(lanes a, lanes b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline lanes fma(lanes a, lanes b, lanes c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline lanes larger(lanes a, lanes b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline lanes smaller(lanes a, lanes b) {
  return {_mm512_min_ps(a.v, b.v)};
}
inline lanes magnitude(lanes a) {
  return {_mm512_abs_ps(a.v)};
}
inline lanes swap_neighbours(lanes a) {
  return {_mm512_permute_ps(a.v, 0xb1)};
}
inline lanes keep_first(unsigned n, lanes a, lanes otherwise) {
  return {_mm512_mask_mov_ps(otherwise.v, lanes::first(n), a.v)};
}
/// Adds the lanes of `exponent`, as the bits of integers, to the exponents of `a`.
inline lanes add_exponent(lanes a, lanes exponent) {
  return {_mm512_castsi512_ps(
    _mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_slli_epi32(_mm512_castps_si512(exponent.v), 23)))};
}
inline bool all_equal(lanes a, lanes b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ) == 0xffff;
}

constexpr unsigned float_chains = 16; ///< Of `lanes` in registers at once.

/// Makes the compiler believe that the value is used, and changed.
inline void keep(lanes& a) {
  __asm__ volatile("" : "+v"(a.v));
}

struct half_lanes {
  __m256 v;
};
inline half_lanes low(lanes a) {
  return {_mm512_castps512_ps256(a.v)};
}
inline half_lanes high(lanes a) {
  return {_mm512_extractf32x8_ps(a.v, 1)};
}

} // namespace

#include "cpu/lanes_reduce_x86.hpp"
