// What the kernels need of vectors, in terms of GCC's; for kernels_body.hpp alone.
#include <cstddef>
#include <cstdint>

#include "model/sampling/kernels.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace troupe::sampling {

namespace {

constexpr std::size_t lanes = TROUPE_LANES, half = lanes / 2, vectors_a_block = block_tokens / lanes;

using floats = float __attribute__((vector_size(lanes * 4)));
using bits = std::uint32_t __attribute__((vector_size(lanes * 4))); // Their sums may wrap around.
using ints = std::int32_t __attribute__((vector_size(lanes * 4)));
using doubles = double __attribute__((vector_size(lanes * 4)));
using words = std::uint64_t __attribute__((vector_size(lanes * 4)));

constexpr float infinity = __builtin_inff();

inline floats load(const float* p) {
  floats v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class Vector, class Number>
inline void store(const Vector& v, Number* p) {
  __builtin_memcpy(p, &v, sizeof v);
}

inline floats all(float x) {
  return x - floats{};
}

/// Neither is NaN, or else either may be the result.
inline floats larger(floats a, floats b) {
#if TROUPE_LANES == 16
  return _mm512_max_ps(a, b);
#elif TROUPE_LANES == 8
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

/// A bit for each lane of a comparison's result, the first lane's lowest.
inline std::uint32_t bits_of(ints mask) {
#if TROUPE_LANES == 16
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
#elif TROUPE_LANES == 8
  return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__SSE2__)
  return static_cast<std::uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#else
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < lanes; ++i)
    bits |= (mask[i] ? 1u : 0u) << i;
  return bits;
#endif
}

/// A bit for each lane of `v` that is at least `least`.
inline std::uint32_t bits_from(doubles v, double least) {
#if TROUPE_LANES == 16
  return _mm512_cmp_pd_mask(v, _mm512_set1_pd(least), _CMP_GE_OQ);
#elif TROUPE_LANES == 8
  return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(v, _mm256_set1_pd(least), _CMP_GE_OQ)));
#elif defined(__SSE2__)
  return static_cast<std::uint32_t>(_mm_movemask_pd(_mm_cmpge_pd(v, _mm_set1_pd(least))));
#else
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < half; ++i)
    bits |= (v[i] >= least ? 1u : 0u) << i;
  return bits;
#endif
}

inline float largest_of(floats v) {
#if TROUPE_LANES == 16
  const auto wide = reinterpret_cast<__m512>(v);
  const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(wide), _mm512_extractf32x8_ps(wide, 1));
#elif TROUPE_LANES == 8
  const auto a = reinterpret_cast<__m256>(v);
#endif
#if TROUPE_LANES >= 8
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
#elif defined(__SSE2__)
  const auto b = reinterpret_cast<__m128>(v);
#endif
#if defined(__SSE2__)
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
#else
  float largest = v[0];
  for (std::size_t i = 1; i < lanes; ++i)
    largest = v[i] > largest ? v[i] : largest;
  return largest;
#endif
}

inline std::uint64_t sum_of(words v) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < half; ++i)
    sum += v[i];
  return sum;
}

// GCC 12 takes vectors apart for __builtin_convertvector.
#if TROUPE_LANES == 16
inline doubles low_half(floats v) {
  return _mm512_cvtps_pd(_mm512_castps512_ps256(v));
}
inline doubles high_half(floats v) {
  return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}
#elif TROUPE_LANES == 8
inline doubles low_half(floats v) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(v));
}
inline doubles high_half(floats v) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}
#elif defined(__SSE2__)
inline doubles low_half(floats v) {
  return _mm_cvtps_pd(v);
}
inline doubles high_half(floats v) {
  return _mm_cvtps_pd(_mm_movehl_ps(v, v));
}
#else
inline doubles low_half(floats v) {
  return doubles{v[0], v[1]};
}
inline doubles high_half(floats v) {
  return doubles{v[2], v[3]};
}
#endif

} // namespace

} // namespace troupe::sampling
