// Products in bfloat16 with fused multiply-adds: activations and unpacked weights are floats. Included by an instruction
// set's translation unit before bf16_products.hpp.
//
// What it provides: add_product(lanes& to, lanes weights, const float* x): fma of sixteen weights and one activation,
// denormals as zeros; row_pieces: how many rows go together, from the most to 1; both_chains_up_to: of as few rows both chains
// are computed at the same time, of more one after the other, for which there are registers.

namespace {

using number = float;

inline void store_rounded(lanes x, number* to) {
  rounded(x).store(to);
}

/// An unpacked block is [32 columns][16 outputs].
template <weights_are What>
inline __attribute__((always_inline)) void store_pair(lanes even, lanes odd, number* block, unsigned pair) {
  const auto round = [](lanes a) { return What == weights_are::normal ? rounded_normal(a) : rounded(a); };
  round(even).store(block + 2 * pair * panel_columns);
  round(odd).store(block + (2 * pair + 1) * panel_columns);
}

/// The chain of the even columns or of the odd ones.
template <unsigned R>
inline __attribute__((always_inline)) void add_chain(lanes* chain, const float* x, const float* weights) {
#pragma GCC unroll 2
  for (unsigned k = 0; k < block_columns; k += 2) {
    const lanes w = lanes::load(weights + k * panel_columns);
#pragma GCC unroll 16
    for (unsigned r = 0; r < R; ++r)
      add_product(chain[r], w, x + r * block_columns + k);
  }
}

template <unsigned R>
inline __attribute__((always_inline)) void add_block(const float* x, const float* weights, float* sums) {
  lanes even[R], odd[R];
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r)
    even[r] = odd[r] = lanes::zero();
  if constexpr (R <= both_chains_up_to) {
#pragma GCC unroll 2
    for (unsigned k = 0; k < block_columns; k += 2) {
      const lanes w = lanes::load(weights + k * panel_columns), next = lanes::load(weights + (k + 1) * panel_columns);
#pragma GCC unroll 16
      for (unsigned r = 0; r < R; ++r) {
        add_product(even[r], w, x + r * block_columns + k);
        add_product(odd[r], next, x + r * block_columns + k + 1);
      }
    }
  } else {
    add_chain<R>(even, x, weights);
    add_chain<R>(odd, x + 1, weights + panel_columns);
  }
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r) {
    float* at = sums + r * panel_columns;
    sum_flushed(lanes::load(at), sum_flushed(even[r], odd[r])).store(at);
  }
}

template <unsigned R>
void add_rows(const float* x, const float* weights, unsigned blocks, float* sums) {
  for (unsigned b = 0; b < blocks; ++b, x += bf16_tile_numbers, weights += block_columns * panel_columns) {
    const float* at = x;
    __asm__("" : "+r"(at)); // Or the compiler would keep an address for each row.
    add_block<R>(at, weights, sums);
  }
}

/// The next piece of the `left` rows; it may be a little larger than what is left. Returns how many rows it has.
template <unsigned Index>
unsigned add_piece(const float* x, const float* weights, unsigned blocks, unsigned left, float* sums) {
  constexpr unsigned R = row_pieces[Index];
  if constexpr (R > 1)
    if (left <= row_pieces[Index + 1])
      return add_piece<Index + 1>(x, weights, blocks, left, sums);
  add_rows<R>(x, weights, blocks, sums);
  return R;
}

/// One tile and one panel.
inline void multiply_tile(const float* x, const float* weights, unsigned blocks, unsigned rows, float* sums) {
  for (unsigned from = 0; from < rows;)
    from += add_piece<0>(x + from * block_columns, weights, blocks, rows - from, sums + from * panel_columns);
}

template <class Tiles>
void multiply(const Tiles& tiles, const float* weights, unsigned panels, unsigned blocks, float* sums) {
  constexpr std::size_t chunk = bf16_unpacked_bytes / sizeof(float), sum = tile_rows * panel_columns;
  for (unsigned row = 0; row < tiles.rows; row += tile_rows) {
    const unsigned rows = tiles.rows - row < tile_rows ? tiles.rows - row : tile_rows;
    for (unsigned p = 0; p < panels; ++p, sums += sum)
      multiply_tile(tiles.first + row / tile_rows * tiles.stride, weights + p * chunk, blocks, rows, sums);
  }
}

} // namespace
