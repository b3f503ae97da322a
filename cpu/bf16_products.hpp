// The loops of a product in bfloat16 (bf16_kernels.hpp), and how weights are unpacked; included by each instruction set's
// translation unit.
//
// What it provides:
//   number, and store_rounded(lanes, number*): sixteen activations, rounded;
//   rounded(lanes): to the nearest bfloat16 as a float, denormals to zero; what is no number stays so;
//   rounded_normal(lanes): the same, in fewer instructions, of what is not denormal and no NaN but those that operations make
//   of numbers and of plain_nan(lanes), which gives all NaNs the bits of one;
//   fma_flushed, sum_flushed, flushed: float operations with denormals as zeros;
//   quads, load_quads(p), nibbles(quads, shift) and bytes(quads, shift): of sixteen times four bytes the one that lies
//   `shift` bits up, its low four bits or what it is above 128, as floats;
//   store_pair<weights_are>(even, odd, block, pair): weights of columns 2 pair and 2 pair + 1, to be rounded, into an
//   unpacked block;
//   multiply(tiles, weights, panels, blocks, sums): adds a chunk's products to `sums`;
//   call_setup: what a call needs of its thread's state, for as long as it lives: denormals as zeros, tiles.

namespace {

constexpr std::size_t block_numbers = std::size_t{block_columns} * panel_columns;
constexpr unsigned chunk_blocks = bf16_unpacked_bytes / (block_numbers * sizeof(number)); ///< Unpacked at a time.
constexpr std::size_t chunk_numbers = chunk_blocks * block_numbers;
constexpr std::size_t sum_numbers = std::size_t{tile_rows} * panel_columns; ///< Of a tile and a panel.

/// The next blocks of some rows.
struct row_tiles {
  const number* first;
  std::size_t stride; ///< Numbers from a tile to the next.
  unsigned rows;
  unsigned count() const { return (rows + tile_rows - 1) / tile_rows; }
};

/// Weights of the quads that lie at `quants`, with the columns of `shift` + 0, 8, 16 and 24 bits.
template <panel_kind Kind>
inline __attribute__((always_inline)) lanes quad_weights(quads from, unsigned shift, lanes scale, lanes min) {
  if constexpr (Kind == panel_kind::q4)
    return flushed(fma_flushed(scale, nibbles(from, shift), min));
  else if constexpr (Kind == panel_kind::q8_min)
    return flushed(fma_flushed(scale, bytes(from, shift), min));
  else
    return flushed(scale * bytes(from, shift));
}

template <panel_kind Kind>
inline __attribute__((always_inline)) void store_quads(quads from, unsigned shift, lanes scale, lanes min,
                                                       number* block, unsigned pair) {
  constexpr unsigned next = 8;
#pragma GCC unroll 2
  for (unsigned i = 0; i < 2; ++i, shift += 2 * next)
    store_pair<weights_are::normal>(quad_weights<Kind>(from, shift, scale, min),
                                    quad_weights<Kind>(from, shift + next, scale, min), block, pair + i);
}

template <panel_kind Kind, bool Half>
inline void unpack_block(const std::uint8_t* quants, const std::uint8_t* scales, number* to) {
  const lanes scale = plain_nan(flushed(load_scale<Half>(scales, 0)));
  lanes other = scale; // The min, or the second scale.
  if constexpr (scale_vectors(Kind) == 2)
    other = plain_nan(flushed(load_scale<Half>(scales, 1)));
  if constexpr (Kind == panel_kind::q4) {
#pragma GCC unroll 4
    for (unsigned v = 0; v < 4; ++v) {
      const quads both = load_quads(quants + v * 64);
      store_quads<Kind>(both, 0, scale, other, to, 2 * v);
      store_quads<Kind>(both, 4, scale, other, to, 8 + 2 * v);
    }
  } else {
#pragma GCC unroll 8
    for (unsigned v = 0; v < 8; ++v)
      store_quads<Kind>(load_quads(quants + v * 64), 0, Kind == panel_kind::q8_halves && v >= 4 ? other : scale,
                        other, to, 2 * v);
  }
}

template <panel_kind Kind, bool Half>
void unpack_quantised(const panel& weights, unsigned first, unsigned blocks, number* to) {
  constexpr std::size_t quant_step = quant_bytes(Kind), scale_step = scale_vectors(Kind) * (Half ? 32 : 64);
  const std::uint8_t* quants = weights.quants + first * quant_step;
  const std::uint8_t* scales = weights.scales + first * scale_step;
  for (unsigned b = 0; b < blocks; ++b, quants += quant_step, scales += scale_step, to += block_numbers) {
    for (std::size_t line = 0; line < quant_step; line += 64)
      __builtin_prefetch(quants + prefetch_bytes + line);
    __builtin_prefetch(scales + prefetch_bytes / quant_step * scale_step);
    unpack_block<Kind, Half>(quants, scales, to);
  }
}

template <panel_kind Kind>
void unpack_numbers(const panel& weights, unsigned first, unsigned blocks, number* to) {
  const auto at = [&](std::size_t column) {
    return column < weights.columns ? load_weights<Kind>(weights.quants, column) : lanes::zero();
  };
  for (unsigned b = first; b < first + blocks; ++b, to += block_numbers)
    for (unsigned pair = 0; pair < block_columns / 2; ++pair) {
      const std::size_t column = std::size_t{b} * block_columns + 2 * pair;
      store_pair<weights_are::anything>(at(column), at(column + 1), to, pair);
    }
}

/// Blocks [first, first + blocks) of a panel.
void unpack(const panel& weights, unsigned first, unsigned blocks, number* to) {
  const bool half = weights.half_scales;
  switch (weights.kind) {
  case panel_kind::q4:
    return (half ? unpack_quantised<panel_kind::q4, true> : unpack_quantised<panel_kind::q4, false>)(weights, first,
                                                                                                     blocks, to);
  case panel_kind::q8:
    return (half ? unpack_quantised<panel_kind::q8, true> : unpack_quantised<panel_kind::q8, false>)(weights, first,
                                                                                                     blocks, to);
  case panel_kind::q8_min:
    return (half ? unpack_quantised<panel_kind::q8_min, true>
                 : unpack_quantised<panel_kind::q8_min, false>)(weights, first, blocks, to);
  case panel_kind::q8_halves:
    return unpack_quantised<panel_kind::q8_halves, false>(weights, first, blocks, to);
  case panel_kind::f32:
    return unpack_numbers<panel_kind::f32>(weights, first, blocks, to);
  case panel_kind::f16:
    return unpack_numbers<panel_kind::f16>(weights, first, blocks, to);
  case panel_kind::bf16:
    return unpack_numbers<panel_kind::bf16>(weights, first, blocks, to);
  }
}

/// 16 sums of one row and one panel.
inline void finish_row(const float* sums, float* out, const float* bias, unsigned outputs, bool accumulate) {
  lanes acc = lanes::load(sums);
  if (bias)
    acc = sum_flushed(acc, flushed(load_some(bias, outputs)));
  if (accumulate)
    acc = sum_flushed(flushed(load_some(out, outputs)), acc);
  store_some(acc, out, outputs);
}

/// Rows from `first` on; sums of [tiles][panels][16 rows][16 outputs].
void finish_rows(const float* sums, unsigned panels, unsigned first, unsigned rows, const product_target& target) {
  for (unsigned r = 0; r < rows; ++r)
    for (unsigned p = 0; p < panels; ++p) {
      const unsigned done = p * panel_columns, left = target.outputs - done;
      finish_row(sums + (r / tile_rows * panels + p) * sum_numbers + r % tile_rows * panel_columns,
                 target.out + (first + r) * target.stride + done, target.bias ? target.bias + done : nullptr,
                 left < panel_columns ? left : panel_columns, target.accumulate);
    }
}

/// Unpacks some blocks of each panel and multiplies them with all rows, then the next blocks.
void products(const panel* weights, unsigned panels, const number* tiles, unsigned rows, const product_target& target,
              std::byte* scratch) {
  auto* unpacked = reinterpret_cast<number*>(scratch);
  auto* sums = reinterpret_cast<float*>(scratch + bf16_panels * bf16_unpacked_bytes);
  const auto blocks = static_cast<unsigned>(bf16_blocks(weights->columns));
  const std::size_t tile_stride = blocks * bf16_tile_numbers;
  for (unsigned row = 0; row < rows; row += bf16_row_block) {
    row_tiles some{tiles + row / tile_rows * tile_stride, tile_stride,
                   rows - row < bf16_row_block ? rows - row : bf16_row_block};
    __builtin_memset(sums, 0, some.count() * panels * sum_numbers * sizeof(float));
    for (unsigned b = 0; b < blocks; b += chunk_blocks, some.first += chunk_blocks * bf16_tile_numbers) {
      const unsigned count = blocks - b < chunk_blocks ? blocks - b : chunk_blocks;
      for (unsigned p = 0; p < panels; ++p)
        unpack(weights[p], b, count, unpacked + p * chunk_numbers);
      multiply(some, unpacked, panels, count, sums);
    }
    finish_rows(sums, panels, row, some.rows, target);
  }
}

/// Few rows stay in the first cache, and so should what is unpacked for them.
constexpr unsigned panels_for_few_rows = 2;

// Not inlined: the compiler does not know that a float operation depends on the MXCSR, and might move it.
__attribute__((noinline)) void all_products(const panel* weights, unsigned panels, const number* tiles, unsigned rows,
                                            product_target target, std::byte* scratch) {
  const unsigned at_once = rows <= tile_rows ? panels_for_few_rows : bf16_panels;
  for (; panels > 0; weights += at_once) {
    const unsigned count = panels < at_once ? panels : at_once;
    products(weights, count, tiles, rows, target, scratch);
    panels -= count;
    if (panels == 0)
      return;
    target.out += count * panel_columns;
    target.outputs -= count * panel_columns;
    if (target.bias)
      target.bias += count * panel_columns;
  }
}

void matmul_bf16(const panel* weights, unsigned panels, const std::byte* tiles, unsigned rows,
                 const product_target& target, std::byte* scratch) {
  const call_setup setup;
  all_products(weights, panels, reinterpret_cast<const number*>(tiles), rows, target, scratch);
}

void round_bf16(const float* x, std::size_t columns, std::byte* tile, unsigned row) {
  number* to = reinterpret_cast<number*>(tile) + row * block_columns;
  for (std::size_t k = 0; k < columns; k += block_columns, to += bf16_tile_numbers)
    for (unsigned half : {0u, 16u}) {
      const std::size_t left = k + half < columns ? columns - k - half : 0;
      const lanes some =
        left == 0 ? lanes::zero() : load_some(x + k + half, left < 16 ? static_cast<unsigned>(left) : 16);
      store_rounded(some, to + half);
    }
}

constexpr bf16_kernels bf16_table{.number_bytes = sizeof(number), .round = round_bf16, .matmul = matmul_bf16};

} // namespace
