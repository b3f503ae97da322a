// The kernels for AVX-512 with VNNI. This file alone is compiled for it; see kernels.hpp.
#include "cpu/kernels.hpp"

#include "cpu/lanes_avx512.hpp"

#include "cpu/kernels_math.hpp"

namespace {

constexpr unsigned rows_at_once = 8, most_rows = 16;

inline __m512i four_columns(const std::int8_t* p) {
  std::int32_t x;
  __builtin_memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}

inline __m512i load64(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}

/// acc[r] += the 16 outputs' products of a vector of weights (four columns of each) with four columns of row r.
template <unsigned R>
inline __attribute__((always_inline)) void add_columns(__m512i* acc, __m512i weights,
                                                       const std::int8_t (*rows)[block_columns], unsigned column) {
  for (unsigned r = 0; r < R; ++r)
    acc[r] = _mm512_dpbusd_epi32(acc[r], weights, four_columns(rows[r] + column));
}

/// Between the high and the low bytes.
template <unsigned R>
inline __attribute__((always_inline)) void times_128(__m512i* acc) {
  for (unsigned r = 0; r < R; ++r)
    acc[r] = _mm512_slli_epi32(acc[r], 7);
}

template <unsigned R>
inline __attribute__((always_inline)) void block_sums_q4(const std::uint8_t* quants, const activation_block& block,
                                                         unsigned from, lanes* sums) {
  const __m512i nibble = _mm512_set1_epi8(15);
  __m512i weights[8], acc[R];
  for (unsigned i = 0; i < 4; ++i) {
    const __m512i both = load64(quants + i * 64);
    weights[i] = _mm512_and_si512(both, nibble);
    weights[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
  }
  for (unsigned r = 0; r < R; ++r)
    acc[r] = _mm512_setzero_si512();
  for (unsigned i = 0; i < 8; ++i)
    add_columns<R>(acc, weights[i], block.high + from, i * 4);
  times_128<R>(acc);
  for (unsigned i = 0; i < 8; ++i)
    add_columns<R>(acc, weights[i], block.low + from, i * 4);
  for (unsigned r = 0; r < R; ++r)
    sums[r].v = _mm512_cvtepi32_ps(acc[r]);
}

/// 16 of a block's columns, in integers.
template <unsigned R>
inline __attribute__((always_inline)) void half_sums_q8(const std::uint8_t* quants, const activation_block& block,
                                                        unsigned from, unsigned half, __m512i* acc) {
  for (unsigned r = 0; r < R; ++r)
    acc[r] = _mm512_set1_epi32(block.offset[half][from + r]);
  for (unsigned i = 0; i < 4; ++i)
    add_columns<R>(acc, load64(quants + half * 256 + i * 64), block.high + from, half * 16 + i * 4);
  times_128<R>(acc);
  for (unsigned i = 0; i < 4; ++i)
    add_columns<R>(acc, load64(quants + half * 256 + i * 64), block.low + from, half * 16 + i * 4);
}

template <unsigned R, bool Halves>
inline __attribute__((always_inline)) void block_sums_q8(const std::uint8_t* quants, const activation_block& block,
                                                         unsigned from, lanes* sums, lanes* second) {
  __m512i acc[R], other[R];
  half_sums_q8<R>(quants, block, from, 0, acc);
  half_sums_q8<R>(quants, block, from, 1, other);
  for (unsigned r = 0; r < R; ++r) {
    if constexpr (Halves)
      second[r].v = _mm512_cvtepi32_ps(other[r]);
    else
      acc[r] = _mm512_add_epi32(acc[r], other[r]);
    sums[r].v = _mm512_cvtepi32_ps(acc[r]);
  }
}

} // namespace

#include "cpu/kernels_matmul.hpp"

#include "cpu/kernels_attention.hpp"

namespace troupe::cpu {

constinit const kernel_table avx512vnni_kernels{matmul_quantised, matmul_float, quantise, rms_norm, swiglu, add, rope,
                                                store_kv,         attention};

} // namespace troupe::cpu
