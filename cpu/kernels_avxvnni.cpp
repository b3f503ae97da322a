// The kernels for AVX-VNNI: AVX2 with dot products of four bytes in 256 bits, which CPUs without AVX-512 have. This file
// alone is compiled for it; see kernels.hpp.
#include "cpu/kernels.hpp"

#include "cpu/lanes_avx2.hpp"

#include "cpu/kernels_math.hpp"

#include "cpu/bytes_avx2.hpp"

namespace {

constexpr unsigned most_rows = 4;

/// A sum waits five cycles for the one before it, and two can begin in each: so a row's low and high nibbles have sums of
/// their own.
template <unsigned R>
inline __attribute__((always_inline)) void nibble_sums(const std::uint8_t* quants,
                                                       const std::int8_t (*rows)[block_columns], __m256i* sums) {
  __m256i others[R];
  for (unsigned r = 0; r < R; ++r)
    sums[r] = others[r] = _mm256_setzero_si256();
  for (unsigned i = 0; i < 4; ++i) {
    const __m256i both = load32(quants + i * 64), low = low_nibbles(both), high = high_nibbles(both);
    for (unsigned r = 0; r < R; ++r) {
      sums[r] = _mm256_dpbusd_avx_epi32(sums[r], low, four_columns(rows[r] + i * 4));
      others[r] = _mm256_dpbusd_avx_epi32(others[r], high, four_columns(rows[r] + 16 + i * 4));
    }
  }
  for (unsigned r = 0; r < R; ++r)
    sums[r] = _mm256_add_epi32(sums[r], others[r]);
}

template <unsigned R>
inline __attribute__((always_inline)) void
byte_sums(const std::uint8_t* quants, const std::int8_t (*rows)[block_columns], unsigned column, __m256i* sums) {
  for (unsigned r = 0; r < R; ++r)
    sums[r] = _mm256_setzero_si256();
  for (unsigned i = 0; i < 4; ++i) {
    const __m256i weights = load32(quants + i * 64);
    for (unsigned r = 0; r < R; ++r)
      sums[r] = _mm256_dpbusd_avx_epi32(sums[r], weights, four_columns(rows[r] + column + i * 4));
  }
}

std::uint64_t multiply_bytes(std::uint64_t rounds) {
  __m256i acc[12];
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  for (auto& sum : acc)
    sum = _mm256_setzero_si256();
  for (std::uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (auto& sum : acc)
      sum = _mm256_dpbusd_avx_epi32(sum, a, b);
    __asm__ volatile("" : "+x"(a), "+x"(b));
  }
  for (auto& sum : acc)
    __asm__ volatile("" : "+x"(sum));
  return rounds * 12 * 32;
}

} // namespace

#include "cpu/block_sums_avx2.hpp"

#include "cpu/kernels_table.hpp"

namespace troupe::cpu {

constinit const kernel_table avxvnni_kernels = table;

} // namespace troupe::cpu
