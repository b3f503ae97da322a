// The kernels in plain C++, for CPUs that have no others, and as what the others are compared with; see kernels.hpp.
#include "cpu/kernels.hpp"

#include "cpu/lanes_portable.hpp"

#include "cpu/kernels_math.hpp"

namespace {

constexpr unsigned most_rows = 4;

template <unsigned Bytes>
inline std::int32_t integer(const activation_block<Bytes>& block, unsigned row, unsigned column) {
  std::int32_t out = 0;
  for (unsigned d = 0; d < Bytes; ++d)
    out = out * 16 + block.digits[d][row][column];
  return out;
}

template <unsigned R, unsigned Bytes>
inline void block_sums_q4(const std::uint8_t* quants, const activation_block<Bytes>& block, unsigned from,
                          lanes* sums) {
  for (unsigned r = 0; r < R; ++r)
    for (unsigned c = 0; c < panel_columns; ++c) {
      std::int32_t sum = 0;
      for (unsigned i = 0; i < 16; ++i) {
        const std::uint8_t both = quants[i / 4 * 64 + c * 4 + i % 4];
        sum += (both & 15) * integer(block, from + r, i) + (both >> 4) * integer(block, from + r, 16 + i);
      }
      sums[r].v[c] = static_cast<float>(sum);
    }
}

template <unsigned R, unsigned Bytes, bool Halves>
inline void block_sums_q8(const std::uint8_t* quants, const activation_block<Bytes>& block, unsigned from,
                          lanes* sums, lanes* second) {
  for (unsigned r = 0; r < R; ++r)
    for (unsigned c = 0; c < panel_columns; ++c) {
      std::int32_t sum = block.offset[0][from + r], other = block.offset[1][from + r];
      for (unsigned i = 0; i < 16; ++i) {
        const std::uint8_t* at = quants + i / 4 * 64 + c * 4 + i % 4;
        sum += at[0] * integer(block, from + r, i);
        other += at[256] * integer(block, from + r, 16 + i);
      }
      if (Halves)
        second[r].v[c] = static_cast<float>(other);
      else
        sum += other;
      sums[r].v[c] = static_cast<float>(sum);
    }
}

std::uint64_t multiply_bytes(std::uint64_t rounds) {
  std::uint8_t a[64];
  std::int8_t b[64];
  std::int32_t sums[16] = {};
  __builtin_memset(a, 3, sizeof a);
  __builtin_memset(b, 5, sizeof b);
  for (std::uint64_t i = 0; i < rounds; ++i) {
    for (unsigned j = 0; j < 64; ++j)
      sums[j / 4] += a[j] * b[j];
    __asm__ volatile("" : "+m"(a), "+m"(b), "+m"(sums));
  }
  return rounds * 64;
}

} // namespace

#include "cpu/kernels_table.hpp"

namespace troupe::cpu {

constinit const kernel_table portable_kernels = table;

} // namespace troupe::cpu
