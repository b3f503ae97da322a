// Sums of a block in registers of 256 bits; included by AVX2 and by AVX-VNNI.
//
// What they provide, for R rows and 8 of a panel's 16 outputs, as exact sums of 32 bits:
//   nibble_sums<R>(quants, rows, sums): of 32 columns, and
//   byte_sums<R>(quants, rows, column, sums): of 16 columns from `column` on.

namespace {

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

} // namespace
