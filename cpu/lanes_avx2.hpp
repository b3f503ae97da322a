// Sixteen floats in two AVX registers; see kernels_math.hpp for what each operation means.
#include <immintrin.h>

namespace {

struct lanes {
  __m256 a, b;

  static lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static lanes all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static lanes load_first(const float* p, unsigned n) {
    return {_mm256_maskload_ps(p, first(n, 0)), _mm256_maskload_ps(p + 8, first(n, 8))};
  }
  static lanes load_half(const std::uint8_t* p) {
    const auto* from = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from + 1))};
  }
  static lanes load_bfloat(const std::uint16_t* p) {
    const auto* from = reinterpret_cast<const __m128i*>(p);
    return {widen(_mm_loadu_si128(from)), widen(_mm_loadu_si128(from + 1))};
  }
  static lanes load_int8(const std::int8_t* p) {
    const auto all = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(all)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(all, 8)))};
  }
  void store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  void store_first(float* p, unsigned n) const {
    _mm256_maskstore_ps(p, first(n, 0), a);
    _mm256_maskstore_ps(p + 8, first(n, 8), b);
  }
  /// The lowest byte of each lane's bits.
  void store_low_bytes(std::int8_t* p) const {
    const auto mask = _mm256_set1_epi32(0xff);
    const auto x = _mm256_and_si256(_mm256_castps_si256(a), mask), y = _mm256_and_si256(_mm256_castps_si256(b), mask);
    // Packing works within 128 bits, so the quarters come out as x0 y0 x1 y1 and are put in order afterwards.
    const auto words = _mm256_permute4x64_epi64(_mm256_packus_epi32(x, y), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }

  static __m256i first(unsigned n, int from) {
    const auto index = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(from));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
  }
  static __m256 widen(__m128i halves) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
};

inline lanes operator+(lanes x, lanes y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
inline lanes operator-(lanes x, lanes y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
inline lanes operator*(lanes x, lanes y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
inline lanes operator/(lanes x, lanes y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
inline lanes fma(lanes x, lanes y, lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline lanes larger(lanes x, lanes y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
inline lanes smaller(lanes x, lanes y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
inline lanes magnitude(lanes x) {
  const auto sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline lanes swap_neighbours(lanes x) {
  return {_mm256_permute_ps(x.a, 0xb1), _mm256_permute_ps(x.b, 0xb1)};
}
inline lanes keep_first(unsigned n, lanes x, lanes otherwise) {
  return {_mm256_blendv_ps(otherwise.a, x.a, _mm256_castsi256_ps(lanes::first(n, 0))),
          _mm256_blendv_ps(otherwise.b, x.b, _mm256_castsi256_ps(lanes::first(n, 8)))};
}
inline __m256 add_exponent(__m256 x, __m256 exponent) {
  return _mm256_castsi256_ps(
    _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(exponent), 23)));
}
/// Adds the lanes of `exponent`, as the bits of integers, to the exponents of `x`.
inline lanes add_exponent(lanes x, lanes exponent) {
  return {add_exponent(x.a, exponent.a), add_exponent(x.b, exponent.b)};
}
inline bool all_equal(lanes x, lanes y) {
  return _mm256_movemask_ps(
           _mm256_and_ps(_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ))) == 0xff;
}

constexpr unsigned float_chains = 6; ///< Of `lanes` in registers at once.

/// Makes the compiler believe that the value is used, and changed.
inline void keep(lanes& x) {
  __asm__ volatile("" : "+x"(x.a), "+x"(x.b));
}

struct half_lanes {
  __m256 v;
};
inline half_lanes low(lanes x) {
  return {x.a};
}
inline half_lanes high(lanes x) {
  return {x.b};
}

} // namespace

#include "cpu/lanes_reduce_x86.hpp"
