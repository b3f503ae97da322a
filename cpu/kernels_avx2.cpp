// The kernels for AVX2 with FMA and F16C. This file alone is compiled for it; see kernels.hpp.
#include "cpu/kernels.hpp"

#include "cpu/lanes_avx2.hpp"

#include "cpu/kernels_math.hpp"

#include "cpu/bytes_avx2.hpp"

namespace {

constexpr unsigned most_rows = 4;

/// Pairs of 16-bit sums to 32 bits.
inline __m256i widen_pairs(__m256i x) {
  return _mm256_madd_epi16(x, _mm256_set1_epi16(1));
}

// Below, sums are of 8 of a panel's 16 outputs. A 16-bit lane takes at most 16 products of a nibble and an int8 of
// magnitude 127: 30,480, so nothing saturates.

template <unsigned R>
inline __attribute__((always_inline)) void nibble_sums(const std::uint8_t* quants,
                                                       const std::int8_t (*rows)[block_columns], __m256i* sums) {
  for (unsigned r = 0; r < R; ++r)
    sums[r] = _mm256_setzero_si256();
  for (unsigned i = 0; i < 4; ++i) {
    const __m256i both = load32(quants + i * 64), low = low_nibbles(both), high = high_nibbles(both);
    for (unsigned r = 0; r < R; ++r) {
      sums[r] = _mm256_add_epi16(sums[r], _mm256_maddubs_epi16(low, four_columns(rows[r] + i * 4)));
      sums[r] = _mm256_add_epi16(sums[r], _mm256_maddubs_epi16(high, four_columns(rows[r] + 16 + i * 4)));
    }
  }
  for (unsigned r = 0; r < R; ++r)
    sums[r] = widen_pairs(sums[r]);
}

/// 16 columns of bytes, taken as two nibbles each.
template <unsigned R>
inline __attribute__((always_inline)) void
byte_sums(const std::uint8_t* quants, const std::int8_t (*rows)[block_columns], unsigned column, __m256i* sums) {
  __m256i low_sums[R], high_sums[R];
  for (unsigned r = 0; r < R; ++r)
    low_sums[r] = high_sums[r] = _mm256_setzero_si256();
  for (unsigned i = 0; i < 4; ++i) {
    const __m256i both = load32(quants + i * 64), low = low_nibbles(both), high = high_nibbles(both);
    for (unsigned r = 0; r < R; ++r) {
      const __m256i x = four_columns(rows[r] + column + i * 4);
      low_sums[r] = _mm256_add_epi16(low_sums[r], _mm256_maddubs_epi16(low, x));
      high_sums[r] = _mm256_add_epi16(high_sums[r], _mm256_maddubs_epi16(high, x));
    }
  }
  for (unsigned r = 0; r < R; ++r)
    sums[r] = _mm256_add_epi32(widen_pairs(low_sums[r]), _mm256_slli_epi32(widen_pairs(high_sums[r]), 4));
}

std::uint64_t multiply_bytes(std::uint64_t rounds) {
  __m256i acc[8];
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  for (auto& sum : acc)
    sum = _mm256_setzero_si256();
  for (std::uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (auto& sum : acc)
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
    __asm__ volatile("" : "+x"(a), "+x"(b));
  }
  for (auto& sum : acc)
    __asm__ volatile("" : "+x"(sum));
  return rounds * 8 * 32;
}

} // namespace

#include "cpu/block_sums_avx2.hpp"

#include "cpu/kernels_table.hpp"

namespace troupe::cpu {

constinit const kernel_table avx2_kernels = table;

} // namespace troupe::cpu
