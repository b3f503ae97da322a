// Bytes in AVX2 registers: what the sums of block_sums_avx2.hpp are made of. Included after lanes_avx2.hpp.

namespace {

inline __m256i four_columns(const std::int8_t* p) {
  std::int32_t x;
  __builtin_memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}

inline __m256i load32(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

inline __m256i low_nibbles(__m256i both) {
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
inline __m256i high_nibbles(__m256i both) {
  return low_nibbles(_mm256_srli_epi16(both, 4));
}

} // namespace
