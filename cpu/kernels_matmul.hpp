// Products of a panel and up to 16 rows; included by each instruction set's translation unit after its block sums.
//
// What an instruction set provides, for R rows (R at most most_rows), as exact sums in floats:
//   block_sums_q4<R, Bytes>(quants, block, from, sums), and
//   block_sums_q8<R, Bytes, Halves>(quants, block, from, sums, second): with Halves, sums of the first and last 16 columns.

namespace {

inline void finish(lanes acc, const product_target& target, unsigned row) {
  float* out = target.out + row * target.stride;
  if (target.bias)
    acc = acc + load_some(target.bias, target.outputs);
  if (target.accumulate)
    acc = load_some(out, target.outputs) + acc;
  store_some(acc, out, target.outputs);
}

/// One block of G rows: the arithmetic that kernels.hpp calls canonical.
template <panel_kind Kind, bool Half, unsigned G, unsigned Bytes>
inline __attribute__((always_inline)) void add_block(const std::uint8_t* quants, const std::uint8_t* scales,
                                                     const activation_block<Bytes>& block, unsigned from,
                                                     lanes* acc) {
  const lanes scale = load_scale<Half>(scales, 0);
  lanes sums[G];
  if constexpr (Kind == panel_kind::q4) {
    block_sums_q4<G, Bytes>(quants, block, from, sums);
  } else {
    lanes second[G];
    block_sums_q8<G, Bytes, Kind == panel_kind::q8_halves>(quants, block, from, sums, second);
    if constexpr (Kind == panel_kind::q8_halves) {
      const lanes scale2 = load_scale<Half>(scales, 1);
#pragma GCC unroll 16
      for (unsigned r = 0; r < G; ++r) {
        const lanes row_scale = lanes::all(block.scale[from + r]);
        acc[r] = fma(second[r], scale2 * row_scale, fma(sums[r], scale * row_scale, acc[r]));
      }
      return;
    }
  }
#pragma GCC unroll 16
  for (unsigned r = 0; r < G; ++r)
    acc[r] = fma(sums[r], scale * lanes::all(block.scale[from + r]), acc[r]);
  if constexpr (Kind == panel_kind::q4 || Kind == panel_kind::q8_min) {
    const lanes min = load_scale<Half>(scales, 1);
#pragma GCC unroll 16
    for (unsigned r = 0; r < G; ++r)
      acc[r] = fma(min, lanes::all(block.sum[from + r]), acc[r]);
  }
}

/// R rows, of which the first `rows` are stored: the others cost less than code of their own would.
template <panel_kind Kind, bool Half, unsigned R, unsigned Bytes>
void quantised_rows(const panel& weights, const activation_block<Bytes>* tile, unsigned from, unsigned rows,
                    const product_target& target) {
  constexpr std::size_t quant_step = quant_bytes(Kind), scale_step = scale_vectors(Kind) * (Half ? 32 : 64);
  const std::uint8_t* quants = weights.quants;
  const std::uint8_t* scales = weights.scales;
  const unsigned blocks = weights.columns / block_columns;
  lanes acc[R];
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r)
    acc[r] = lanes::zero();
  for (unsigned b = 0; b < blocks; ++b, quants += quant_step, scales += scale_step) {
    for (std::size_t line = 0; line < quant_step; line += 64)
      __builtin_prefetch(quants + prefetch_bytes + line);
    __builtin_prefetch(scales + prefetch_bytes / quant_step * scale_step);
    add_block<Kind, Half, R, Bytes>(quants, scales, tile[b], from, acc);
  }
#pragma GCC unroll 16
  for (unsigned r = 0; r < R; ++r)
    if (r < rows)
      finish(acc[r], target, from + r);
}

/// Computes the next piece of the `left` rows, which has R rows or the half of them, and so on; a piece may be a little
/// larger than what is left. Returns how many rows it has.
template <panel_kind Kind, bool Half, unsigned R, unsigned Bytes>
unsigned next_piece(const panel& weights, const activation_block<Bytes>* tile, unsigned from, unsigned left,
                    const product_target& target) {
  if constexpr (R > 1)
    if (left <= (R == 16 ? 12 : R == 12 ? 8 : R / 2))
      return next_piece < Kind, Half, R == 16 ? 12 : R == 12 ? 8 : R / 2, Bytes > (weights, tile, from, left, target);
  quantised_rows<Kind, Half, R, Bytes>(weights, tile, from, left, target);
  return R;
}

/// Bytes of weights with activations of two bytes need two sums a row, for which there are registers with fewer rows.
template <panel_kind Kind, unsigned Bytes>
constexpr unsigned rows_at_once = Kind != panel_kind::q4&& Bytes == 2 ? (most_rows + 1) / 2 : most_rows;

template <panel_kind Kind, bool Half, unsigned Bytes>
void quantised_tile(const panel& weights, const activation_block<Bytes>* tile, unsigned rows,
                    const product_target& target) {
  for (unsigned from = 0; from < rows;)
    from += next_piece<Kind, Half, rows_at_once<Kind, Bytes>, Bytes>(weights, tile, from, rows - from, target);
}

template <panel_kind Kind, unsigned Bytes>
inline void quantised_kind(const panel& weights, const activation_block<Bytes>* tile, unsigned rows,
                           const product_target& target) {
  if (weights.half_scales)
    quantised_tile<Kind, true, Bytes>(weights, tile, rows, target);
  else
    quantised_tile<Kind, false, Bytes>(weights, tile, rows, target);
}

template <unsigned Bytes>
void matmul_quantised(const panel& weights, const activation_block<Bytes>* tile, unsigned rows,
                      const product_target& target) {
  switch (weights.kind) {
  case panel_kind::q4:
    return quantised_kind<panel_kind::q4, Bytes>(weights, tile, rows, target);
  case panel_kind::q8:
    return quantised_kind<panel_kind::q8, Bytes>(weights, tile, rows, target);
  case panel_kind::q8_min:
    return quantised_kind<panel_kind::q8_min, Bytes>(weights, tile, rows, target);
  case panel_kind::q8_halves:
    return quantised_tile<panel_kind::q8_halves, false, Bytes>(weights, tile, rows, target);
  default:
    return;
  }
}

template <panel_kind Kind, unsigned R>
void float_rows(const panel& weights, const float* x, std::size_t stride, unsigned from,
                const product_target& target) {
  lanes acc[R];
  for (unsigned r = 0; r < R; ++r)
    acc[r] = lanes::zero();
  x += from * stride;
  for (std::size_t k = 0; k < weights.columns; ++k) {
    const lanes w = load_weights<Kind>(weights.quants, k);
    for (unsigned r = 0; r < R; ++r)
      acc[r] = fma(w, lanes::all(x[r * stride + k]), acc[r]);
  }
  for (unsigned r = 0; r < R; ++r)
    finish(acc[r], target, from + r);
}

template <panel_kind Kind>
void float_kind(const panel& weights, const float* x, std::size_t stride, unsigned rows,
                const product_target& target) {
  unsigned from = 0;
  for (; from + 8 <= rows; from += 8)
    float_rows<Kind, 8>(weights, x, stride, from, target);
  for (; from + 2 <= rows; from += 2)
    float_rows<Kind, 2>(weights, x, stride, from, target);
  for (; from < rows; ++from)
    float_rows<Kind, 1>(weights, x, stride, from, target);
}

void matmul_float(const panel& weights, const float* x, std::size_t stride, unsigned rows,
                  const product_target& target) {
  switch (weights.kind) {
  case panel_kind::f32:
    return float_kind<panel_kind::f32>(weights, x, stride, rows, target);
  case panel_kind::f16:
    return float_kind<panel_kind::f16>(weights, x, stride, rows, target);
  case panel_kind::bf16:
    return float_kind<panel_kind::bf16>(weights, x, stride, rows, target);
  default:
    return;
  }
}

} // namespace
