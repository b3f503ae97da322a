// Reductions of 16 lanes in the one order that all instruction sets keep: lanes 8 apart, then 4, 2 and 1.
#include <immintrin.h>

namespace {

inline float sum_of(lanes a) {
  const auto eight = _mm256_add_ps(low(a).v, high(a).v);
  const auto four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const auto two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float largest_of(lanes a) {
  const auto eight = _mm256_max_ps(low(a).v, high(a).v);
  const auto four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const auto two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

} // namespace
