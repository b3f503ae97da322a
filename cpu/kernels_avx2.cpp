// The kernels for AVX2 with FMA and F16C. This file alone is compiled for it; see kernels.hpp.
#include "cpu/kernels.hpp"

#include "cpu/lanes_avx2.hpp"

#include "cpu/kernels_math.hpp"

namespace {

constexpr unsigned most_rows = 4;

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

/// The sums of both digits, as those of the integers.
template <unsigned R, unsigned Bytes>
inline __attribute__((always_inline)) void join_digits(const __m256i (*digits)[R], __m256i* sums) {
  for (unsigned r = 0; r < R; ++r)
    sums[r] = Bytes == 1 ? digits[0][r] : _mm256_add_epi32(_mm256_slli_epi32(digits[0][r], 4), digits[Bytes - 1][r]);
}

template <unsigned R, unsigned Bytes>
inline __attribute__((always_inline)) void
block_sums_q4(const std::uint8_t* quants, const activation_block<Bytes>& block, unsigned from, lanes* sums) {
  __m256i digits[Bytes][R], all[R];
  for (unsigned side = 0; side < 2; ++side) {
    for (unsigned d = 0; d < Bytes; ++d)
      nibble_sums<R>(quants + side * 32, block.digits[d] + from, digits[d]);
    join_digits<R, Bytes>(digits, all);
    for (unsigned r = 0; r < R; ++r)
      (side ? sums[r].b : sums[r].a) = _mm256_cvtepi32_ps(all[r]);
  }
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

template <unsigned R, unsigned Bytes>
inline __attribute__((always_inline)) void half_sums_q8(const std::uint8_t* quants,
                                                        const activation_block<Bytes>& block, unsigned from,
                                                        unsigned half, __m256i* sums) {
  __m256i digits[Bytes][R];
  for (unsigned d = 0; d < Bytes; ++d)
    byte_sums<R>(quants + half * 256, block.digits[d] + from, half * 16, digits[d]);
  join_digits<R, Bytes>(digits, sums);
  for (unsigned r = 0; r < R; ++r)
    sums[r] = _mm256_add_epi32(sums[r], _mm256_set1_epi32(block.offset[half][from + r]));
}

template <unsigned R, unsigned Bytes, bool Halves>
inline __attribute__((always_inline)) void block_sums_q8(const std::uint8_t* quants,
                                                         const activation_block<Bytes>& block, unsigned from,
                                                         lanes* sums, lanes* second) {
  __m256i acc[R], other[R];
  for (unsigned side = 0; side < 2; ++side) {
    half_sums_q8<R, Bytes>(quants + side * 32, block, from, 0, acc);
    half_sums_q8<R, Bytes>(quants + side * 32, block, from, 1, other);
    for (unsigned r = 0; r < R; ++r) {
      if constexpr (Halves)
        (side ? second[r].b : second[r].a) = _mm256_cvtepi32_ps(other[r]);
      else
        acc[r] = _mm256_add_epi32(acc[r], other[r]);
      (side ? sums[r].b : sums[r].a) = _mm256_cvtepi32_ps(acc[r]);
    }
  }
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

#include "cpu/kernels_table.hpp"

namespace troupe::cpu {

constinit const kernel_table avx2_kernels = table;

} // namespace troupe::cpu
