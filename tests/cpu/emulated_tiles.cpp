// See emulated_tiles.hpp. This file alone is compiled for AVX-512, so it has no inline function that others have too.
// Source of what the instructions do: Intel's Software Developer's Manual, volume 2.
#include "tests/cpu/emulated_tiles.hpp"

#include "cpu/bf16_lanes_avx512.hpp"

namespace {

const char* violation = nullptr;

void check(bool right, const char* what) {
  if (!right && !violation)
    violation = what;
}

struct tile {
  unsigned rows = 0, row_bytes = 0;
  alignas(64) unsigned char bytes[16][64];
};

thread_local tile tiles[8];
thread_local bool configured = false;

float bfloat(const tile& of, unsigned row, unsigned index) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, of.bytes[row] + 2 * index, 2);
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}

/// The call has denormals as zeros, as the instruction always does.
void multiply_row(tile& c, const tile& a, const tile& b, unsigned m) {
  for (unsigned n = 0; n < c.row_bytes / 4; ++n) {
    float even = 0, odd = 0, sum;
    for (unsigned k = 0; k < a.row_bytes / 4; ++k) {
      even = __builtin_fmaf(bfloat(a, m, 2 * k), bfloat(b, k, 2 * n), even);
      odd = __builtin_fmaf(bfloat(a, m, 2 * k + 1), bfloat(b, k, 2 * n + 1), odd);
    }
    __builtin_memcpy(&sum, c.bytes[m] + 4 * n, 4);
    sum += even + odd;
    __builtin_memcpy(c.bytes[m] + 4 * n, &sum, 4);
  }
}

struct tile_unit {
  static void configure(const auto& what) {
    static_assert(sizeof what == 64);
    check(!configured, "tiles are configured twice");
    check(what.palette == 1 && what.start_row == 0, "a palette or start row that is not there");
    for (auto byte : what.reserved)
      check(byte == 0, "a reserved byte is set");
    for (unsigned t = 0; t < 16; ++t) {
      check(t < 8 || (what.rows[t] == 0 && what.row_bytes[t] == 0), "more than eight tiles");
      check(what.rows[t] <= 16 && what.row_bytes[t] <= 64, "a tile of more than 16 rows of 64 bytes");
      check((what.rows[t] == 0) == (what.row_bytes[t] == 0), "a tile with rows or columns alone");
    }
    for (unsigned t = 0; t < 8; ++t) {
      tiles[t].rows = what.rows[t];
      tiles[t].row_bytes = what.row_bytes[t];
      __builtin_memset(tiles[t].bytes, 0, sizeof tiles[t].bytes);
    }
    configured = true;
  }
  static void release() {
    check(configured, "tiles are released that nobody has");
    configured = false;
  }
  template <unsigned Tile>
  static void load(const void* from, std::size_t stride) {
    static_assert(Tile < 8);
    check(configured && tiles[Tile].rows > 0, "a load into a tile that is not configured");
    check(stride >= tiles[Tile].row_bytes, "rows that overlap in memory");
    __builtin_memset(tiles[Tile].bytes, 0, sizeof tiles[Tile].bytes);
    for (unsigned r = 0; r < tiles[Tile].rows; ++r)
      __builtin_memcpy(tiles[Tile].bytes[r], static_cast<const char*>(from) + r * stride, tiles[Tile].row_bytes);
  }
  template <unsigned Tile>
  static void store(void* to, std::size_t stride) {
    static_assert(Tile < 8);
    check(configured && tiles[Tile].rows > 0, "a store of a tile that is not configured");
    check(stride >= tiles[Tile].row_bytes, "rows that overlap in memory");
    for (unsigned r = 0; r < tiles[Tile].rows; ++r)
      __builtin_memcpy(static_cast<char*>(to) + r * stride, tiles[Tile].bytes[r], tiles[Tile].row_bytes);
  }
  template <unsigned C, unsigned A, unsigned B>
  static void dot() {
    static_assert(C < 8 && A < 8 && B < 8 && C != A && C != B && A != B);
    tile& c = tiles[C];
    const tile &a = tiles[A], &b = tiles[B];
    check(configured, "a product without a configuration");
    check(c.row_bytes % 4 == 0 && a.row_bytes % 4 == 0 && b.row_bytes % 4 == 0, "columns that are no pairs");
    check(a.rows == c.rows && b.row_bytes == c.row_bytes && a.row_bytes / 4 == b.rows, "shapes that do not fit");
    for (unsigned m = 0; m < c.rows; ++m)
      multiply_row(c, a, b, m);
  }
};

/// What AMX's CPUs have one instruction for.
inline __m512i pairs(lanes even, lanes odd) {
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(rounded(even).v), 16),
                         _mm512_castps_si512(rounded(odd).v));
}

} // namespace

#include "cpu/bf16_tiles.hpp"

#include "cpu/bf16_products.hpp"

namespace troupe::test {

constinit const cpu::bf16_kernels emulated_tile_kernels = bf16_table;

const char* tile_violation() {
  return violation;
}

} // namespace troupe::test
