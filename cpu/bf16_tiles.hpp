// Products in bfloat16 with AMX's tiles: activations are A, unpacked weights are B, as pairs of columns. Included by a
// translation unit before bf16_products.hpp.
//
// What it provides: `tile_unit`, whose functions are the instructions configure, release, load<Tile>, store<Tile> and
// dot<C, A, B>; and pairs(even, odd): sixteen times two numbers as bfloat16, the even column's in the lower half, rounded as
// bf16_kernels.hpp says. The tests have a unit in plain C++.

namespace {

using number = std::uint16_t;

inline void store_rounded(lanes x, number* to) {
  const __m512i bits = _mm512_srli_epi32(_mm512_castps_si512(rounded(x).v), 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(bits));
}

/// An unpacked block is [16 pairs of columns][16 outputs][2], as tile B wants it.
template <weights_are>
inline __attribute__((always_inline)) void store_pair(lanes even, lanes odd, number* block, unsigned pair) {
  _mm512_storeu_si512(block + pair * 2 * panel_columns, pairs(even, odd));
}

/// All tiles have 16 rows of 64 bytes: rows that nobody asked for are computed with the others.
struct alignas(64) tile_configuration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(tile_configuration) == 64);

/// Has the thread's tiles for as long as a call takes. So no thread carries them around, which would make each change of
/// threads save 8 KB more.
class tile_owner {
public:
  tile_owner() { tile_unit::configure(tile_configuration{}); }
  ~tile_owner() { tile_unit::release(); }
  tile_owner(const tile_owner&) = delete;
  tile_owner& operator=(const tile_owner&) = delete;
};

struct call_setup {
  denormals_as_zeros arithmetic;
  tile_owner tiles;
};

constexpr std::size_t tile_stride = 64; ///< Bytes between rows, in memory as in a tile.

/// Where one or two tiles of activations, panels and sums lie apart.
struct tile_steps {
  std::size_t tile, panel, sums; ///< sums: from a tile's to those of the next.
};

/// T tiles of rows with P panels: C is tiles 0 to 3, A 4 and 5, B 6 and 7.
template <unsigned T, unsigned P>
void multiply_tiles(const number* x, const number* weights, unsigned blocks, float* sums, const tile_steps& steps) {
  constexpr std::size_t sum = tile_rows * panel_columns, block = block_columns * panel_columns;
  tile_unit::load<0>(sums, tile_stride);
  if constexpr (P > 1)
    tile_unit::load<1>(sums + sum, tile_stride);
  if constexpr (T > 1)
    tile_unit::load<2>(sums + steps.sums, tile_stride);
  if constexpr (T > 1 && P > 1)
    tile_unit::load<3>(sums + steps.sums + sum, tile_stride);
  for (unsigned b = 0; b < blocks; ++b, x += bf16_tile_numbers, weights += block) {
    tile_unit::load<4>(x, tile_stride);
    tile_unit::load<6>(weights, tile_stride);
    tile_unit::dot<0, 4, 6>();
    if constexpr (P > 1) {
      tile_unit::load<7>(weights + steps.panel, tile_stride);
      tile_unit::dot<1, 4, 7>();
    }
    if constexpr (T > 1) {
      tile_unit::load<5>(x + steps.tile, tile_stride);
      tile_unit::dot<2, 5, 6>();
    }
    if constexpr (T > 1 && P > 1)
      tile_unit::dot<3, 5, 7>();
  }
  tile_unit::store<0>(sums, tile_stride);
  if constexpr (P > 1)
    tile_unit::store<1>(sums + sum, tile_stride);
  if constexpr (T > 1)
    tile_unit::store<2>(sums + steps.sums, tile_stride);
  if constexpr (T > 1 && P > 1)
    tile_unit::store<3>(sums + steps.sums + sum, tile_stride);
}

template <unsigned T>
void multiply_panels(const number* x, const number* weights, unsigned panels, unsigned blocks, float* sums,
                     const tile_steps& steps) {
  constexpr std::size_t sum = tile_rows * panel_columns;
  for (; panels >= 2; panels -= 2, weights += 2 * steps.panel, sums += 2 * sum)
    multiply_tiles<T, 2>(x, weights, blocks, sums, steps);
  if (panels)
    multiply_tiles<T, 1>(x, weights, blocks, sums, steps);
}

template <class Tiles>
void multiply(const Tiles& tiles, const number* weights, unsigned panels, unsigned blocks, float* sums) {
  const tile_steps steps{tiles.stride, bf16_unpacked_bytes / sizeof(number),
                         std::size_t{panels} * tile_rows * panel_columns};
  const number* x = tiles.first;
  unsigned left = tiles.count();
  for (; left >= 2; left -= 2, x += 2 * steps.tile, sums += 2 * steps.sums)
    multiply_panels<2>(x, weights, panels, blocks, sums, steps);
  if (left)
    multiply_panels<1>(x, weights, panels, blocks, sums, steps);
}

} // namespace
