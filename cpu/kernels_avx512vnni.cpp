// The kernels for AVX-512 with VNNI. This file alone is compiled for it; see kernels.hpp.
#include "cpu/kernels.hpp"

#include "cpu/lanes_avx512.hpp"

#include "cpu/kernels_math.hpp"

namespace {

constexpr unsigned most_rows = 16;

/// Four int8 as one operand.
using int_of_bytes = std::int32_t __attribute__((may_alias, aligned(4)));

inline __m512i load64(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}

/// acc[r] += the 16 outputs' products of a vector of weights (four columns of each) with four columns of row r. The
/// compiler would load each row's columns with an instruction of its own, hence the assembly.
template <unsigned R>
inline __attribute__((always_inline)) void add_columns(__m512i* acc, __m512i weights, const std::int8_t* first_row) {
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r)
    __asm__("vpdpbusd %2%{1to16%}, %1, %0"
            : "+v"(acc[r])
            : "v"(weights), "m"(*reinterpret_cast<const int_of_bytes*>(first_row + r * block_columns)));
}

/// The first digits of row `from`. The compiler does not see where that is, or it would keep an address for each operand
/// instead of one.
template <unsigned Bytes>
inline __attribute__((always_inline)) const std::int8_t* digits_of(const activation_block<Bytes>& block,
                                                                   unsigned from) {
  const std::int8_t* at = block.digits[0][from];
  __asm__("" : "+r"(at));
  return at;
}
constexpr unsigned second_digits = tile_rows * block_columns;

/// An addition takes five cycles and two can begin in each: so few rows need several sums each to keep the adders busy.
template <unsigned R>
constexpr unsigned sums_of_a_row = R > 8   ? 1
                                   : R > 4 ? 2
                                           : 4;

template <unsigned R, unsigned Bytes>
inline __attribute__((always_inline)) void
block_sums_q4(const std::uint8_t* quants, const activation_block<Bytes>& block, unsigned from, lanes* sums) {
  constexpr unsigned count = sums_of_a_row<R>;
  const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8(static_cast<char>(0xf0));
  const std::int8_t* digits = digits_of(block, from);
  __m512i acc[count][R];
#pragma GCC unroll 4
  for (unsigned c = 0; c < count; ++c)
#pragma GCC unroll 16
    for (unsigned r = 0; r < R; ++r)
      acc[c][r] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (unsigned i = 0; i < 4; ++i) {
    const __m512i both = load64(quants + i * 64);
    const std::int8_t* at = digits + i * 4;
    const __m512i first = _mm512_and_si512(both, low), last = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    if constexpr (Bytes == 1) {
      add_columns<R>(acc[2 * i % count], first, at);
      add_columns<R>(acc[(2 * i + 1) % count], last, at + 16);
    } else {
      add_columns<R>(acc[0], _mm512_and_si512(_mm512_slli_epi16(both, 4), high), at);
      add_columns<R>(acc[1 % count], _mm512_and_si512(both, high), at + 16);
      add_columns<R>(acc[2 % count], first, at + second_digits);
      add_columns<R>(acc[3 % count], last, at + second_digits + 16);
    }
  }
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (unsigned c = 1; c < count; ++c)
      acc[0][r] = _mm512_add_epi32(acc[0][r], acc[c][r]);
    sums[r].v = _mm512_cvtepi32_ps(acc[0][r]);
  }
}

/// 16 of a block's columns, in integers.
template <unsigned R, unsigned Bytes>
inline __attribute__((always_inline)) void half_sums_q8(const std::uint8_t* quants,
                                                        const activation_block<Bytes>& block, unsigned from,
                                                        unsigned half, __m512i* acc) {
  const std::int8_t* digits = digits_of(block, from);
  __m512i high[R];
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r) {
    acc[r] = _mm512_set1_epi32(block.offset[half][from + r]);
    high[r] = _mm512_setzero_si512();
  }
#pragma GCC unroll 4
  for (unsigned i = 0; i < 4; ++i) {
    const __m512i weights = load64(quants + half * 256 + i * 64);
    const std::int8_t* at = digits + half * 16 + i * 4;
    if constexpr (Bytes == 2)
      add_columns<R>(high, weights, at);
    add_columns<R>(acc, weights, at + (Bytes == 2 ? second_digits : 0));
  }
  if constexpr (Bytes == 2)
#pragma GCC unroll 16
    for (unsigned r = 0; r < R; ++r)
      acc[r] = _mm512_add_epi32(_mm512_slli_epi32(high[r], 4), acc[r]);
}

template <unsigned R, unsigned Bytes, bool Halves>
inline __attribute__((always_inline)) void block_sums_q8(const std::uint8_t* quants,
                                                         const activation_block<Bytes>& block, unsigned from,
                                                         lanes* sums, lanes* second) {
  __m512i acc[R], other[R];
  half_sums_q8<R, Bytes>(quants, block, from, 0, acc);
  half_sums_q8<R, Bytes>(quants, block, from, 1, other);
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r) {
    if constexpr (Halves)
      second[r].v = _mm512_cvtepi32_ps(other[r]);
    else
      acc[r] = _mm512_add_epi32(acc[r], other[r]);
    sums[r].v = _mm512_cvtepi32_ps(acc[r]);
  }
}

std::uint64_t multiply_bytes(std::uint64_t rounds) {
  __m512i acc[16];
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (auto& sum : acc)
    sum = _mm512_setzero_si512();
  for (std::uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : acc)
      sum = _mm512_dpbusd_epi32(sum, a, b);
    __asm__ volatile("" : "+v"(a), "+v"(b));
  }
  for (auto& sum : acc)
    __asm__ volatile("" : "+v"(sum));
  return rounds * 16 * 64;
}

} // namespace

#include "cpu/kernels_table.hpp"

namespace troupe::cpu {

constinit const kernel_table avx512vnni_kernels = table;

} // namespace troupe::cpu
