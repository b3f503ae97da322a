// Attention of a tile of queries against one KV head; included by each instruction set's translation unit.
//
// For each query: blocks of 16 positions in ascending order, from position 0 to its own. In each block the scores are
// one chain of FMAs over the head, then the running maximum, the weights exp(score - maximum), and one chain of FMAs
// over the positions. Positions after the query's own are never read into a result, whatever a block holds there.
// Source: https://arxiv.org/abs/1805.02867 (online softmax).

namespace {

/// For P matrices at once: c[p][r] += sum over k of a[r][k] * b[p][k], where b[p][k] are 16 bfloat16 numbers; k
/// ascends. Each c[p][r] is one chain of FMAs; P only keeps the CPU busy where R is small. a[r][k] lies at
/// [k / 16][r][k % 16] with room for 16 rows, so that rows are a constant apart and need no register each.
template <unsigned R, unsigned P>
void add_products(const float* a, const std::uint16_t* const* b, std::size_t b_stride, unsigned count, float* c,
                  std::size_t c_stride, std::size_t c_next) {
  lanes acc[P][R];
  for (unsigned p = 0; p < P; ++p)
    for (unsigned r = 0; r < R; ++r)
      acc[p][r] = lanes::load(c + p * c_next + r * c_stride);
  for (unsigned k = 0; k < count; ++k) {
    for (unsigned p = 0; p < P; ++p) {
      const lanes row = lanes::load_bfloat(b[p] + k * b_stride);
      for (unsigned r = 0; r < R; ++r)
        acc[p][r] = fma(lanes::all(a[r * 16]), row, acc[p][r]);
    }
    a += k % 16 == 15 ? 256 - 15 : 1;
  }
  for (unsigned p = 0; p < P; ++p)
    for (unsigned r = 0; r < R; ++r)
      acc[p][r].store(c + p * c_next + r * c_stride);
}

using product_function = void (*)(const float*, const std::uint16_t* const*, std::size_t, unsigned, float*,
                                  std::size_t, std::size_t);

constexpr unsigned few_queries = 4, panels_at_once = 4;

/// R from 1 to 16 and one matrix; R from 1 to few_queries and panels_at_once of them.
constexpr product_function one_panel[] = {
  nullptr,
  add_products<1, 1>,
  add_products<2, 1>,
  add_products<3, 1>,
  add_products<4, 1>,
  add_products<5, 1>,
  add_products<6, 1>,
  add_products<7, 1>,
  add_products<8, 1>,
  add_products<9, 1>,
  add_products<10, 1>,
  add_products<11, 1>,
  add_products<12, 1>,
  add_products<13, 1>,
  add_products<14, 1>,
  add_products<15, 1>,
  add_products<16, 1>,
};
constexpr product_function four_panels[] = {nullptr, add_products<1, 4>, add_products<2, 4>, add_products<3, 4>,
                                            add_products<4, 4>};

/// outputs[r] += weights[r] * values, for `rows` queries from `first` on and `count` positions.
inline void add_values(unsigned first, unsigned rows, const float* weights, const std::uint16_t* values,
                       std::size_t padded, unsigned count, float* outputs) {
  weights += first * 16;
  outputs += first * padded;
  std::size_t i = 0;
  for (; rows <= few_queries && i + panels_at_once * 16 <= padded; i += panels_at_once * 16) {
    const std::uint16_t* panels[] = {values + i, values + i + 16, values + i + 32, values + i + 48};
    four_panels[rows](weights, panels, padded, count, outputs + i, padded, 16);
  }
  for (; i < padded; i += 16) {
    const std::uint16_t* panel = values + i;
    one_panel[rows](weights, &panel, padded, count, outputs + i, padded, 0);
  }
}

/// The tile's working memory. Queries are numbered row by row, the heads of a row after one another.
struct attention_state {
  float* queries; // [padded / 16][16][16], times the scale
  float* outputs; // [16][padded]
  float* scores;  // [panels_at_once][16][16]
  float* totals;  // [16][16]: a sum for each lane, added up at the end
  lanes maximum;  // a lane for each query
};

inline attention_state begin(const attention_tile& tile) {
  const std::size_t padded = tile.shape.padded, head = tile.shape.head_size;
  attention_state s{tile.scratch, tile.scratch + 16 * padded, tile.scratch + 32 * padded,
                    tile.scratch + 32 * padded + panels_at_once * 256, lanes::all(-1e30f)};
  const lanes scale = lanes::all(tile.scale);
  for (unsigned r = 0; r < tile.rows; ++r)
    for (unsigned g = 0; g < tile.group; ++g) {
      const unsigned q = r * tile.group + g;
      const float* from = tile.queries + r * tile.row_stride + g * head;
      for_lanes(
        head, [&](std::size_t i, unsigned n) { (load_some(from + i, n) * scale).store(s.queries + i * 16 + q * 16); });
      for (std::size_t i = 0; i < padded; i += 16)
        lanes::zero().store(s.outputs + q * padded + i);
      lanes::zero().store(s.totals + q * 16);
    }
  return s;
}

/// Turns the scores of queries [from, count) into weights, and rescales what they have so far to their new maximum.
/// `visible(q)` is how many of the block's positions query q sees.
template <class Visible>
inline void softmax(attention_state& s, float* scores, std::size_t padded, unsigned from, unsigned count,
                    Visible visible) {
  alignas(64) float old_maximum[16], new_maximum[16], factor[16];
  s.maximum.store(old_maximum);
  s.maximum.store(new_maximum);
  for (unsigned q = from; q < count; ++q) {
    const lanes score = keep_first(visible(q), lanes::load(scores + q * 16), lanes::all(-1e30f));
    const float largest = largest_of(score);
    new_maximum[q] = largest > old_maximum[q] ? largest : old_maximum[q];
  }
  const lanes now = lanes::load(new_maximum);
  const bool same = all_equal(now, s.maximum);
  exp_of(s.maximum - now).store(factor);
  s.maximum = now;
  for (unsigned q = from; q < count; ++q) {
    const lanes weight = exp_of(lanes::load(scores + q * 16) - lanes::all(new_maximum[q]));
    const lanes kept = keep_first(visible(q), weight, lanes::zero());
    kept.store(scores + q * 16);
    const lanes scale = lanes::all(factor[q]);
    fma(lanes::load(s.totals + q * 16), scale, kept).store(s.totals + q * 16);
    if (same) // Then all factors are exactly 1.
      continue;
    for (std::size_t i = 0; i < padded; i += 16)
      (lanes::load(s.outputs + q * padded + i) * scale).store(s.outputs + q * padded + i);
  }
}

inline void end(const attention_tile& tile, const attention_state& s) {
  const std::size_t padded = tile.shape.padded, head = tile.shape.head_size;
  for (unsigned r = 0; r < tile.rows; ++r)
    for (unsigned g = 0; g < tile.group; ++g) {
      const unsigned q = r * tile.group + g;
      const lanes inverse = lanes::all(1.0f / sum_of(lanes::load(s.totals + q * 16)));
      float* to = tile.out + r * tile.row_stride + g * head;
      for_lanes(head, [&](std::size_t i, unsigned n) {
        store_some(lanes::load(s.outputs + q * padded + i) * inverse, to + i, n);
      });
    }
}

/// The scores of all queries with blocks [block, block + count), of which none is used that a query does not see.
inline void score(const attention_tile& tile, const attention_state& s, std::uint32_t block, unsigned count,
                  unsigned from, unsigned queries) {
  const std::uint16_t* keys[panels_at_once];
  for (unsigned p = 0; p < count; ++p) {
    keys[p] = tile.kv + tile.blocks[block + p] * tile.block_stride;
    for (unsigned q = from; q < queries; ++q)
      lanes::zero().store(s.scores + p * 256 + q * 16);
  }
  const float* a = s.queries + from * 16;
  if (count == panels_at_once)
    return four_panels[queries - from](a, keys, 16, tile.shape.head_size, s.scores + from * 16, 16,
                                       256);
  for (unsigned p = 0; p < count; ++p)
    one_panel[queries - from](a, keys + p, 16, tile.shape.head_size,
                              s.scores + p * 256 + from * 16, 16, 0);
}

/// One block, whose scores are there.
inline void take_block(const attention_tile& tile, attention_state& s, std::uint32_t block, float* scores,
                       unsigned queries) {
  const std::size_t padded = tile.shape.padded;
  const std::uint16_t* values = tile.kv + tile.blocks[block] * tile.block_stride + tile.shape.keys();
  const std::uint32_t start = block * 16, position = tile.first_position;
  // Rows before `first` do not see this block; rows from `whole` on see all of it.
  const unsigned first = start > position ? start - position : 0;
  const unsigned needed = start + 15 > position ? start + 15 - position : 0;
  const unsigned whole = needed < tile.rows ? needed : tile.rows;
  softmax(s, scores, padded, first * tile.group, queries,
          [&](unsigned q) { return smaller_of(position + q / tile.group + 1 - start, 16); });
  for (unsigned r = first; r < whole; ++r) // Partly visible: only so many positions.
    add_values(r * tile.group, tile.group, scores, values, padded, position + r + 1 - start, s.outputs);
  if (whole < tile.rows)
    add_values(whole * tile.group, queries - whole * tile.group, scores, values, padded, 16, s.outputs);
}

void attention(const attention_tile& tile) {
  attention_state s = begin(tile);
  const unsigned queries = tile.rows * tile.group;
  const std::uint32_t blocks = (tile.first_position + tile.rows - 1) / 16 + 1;
  const unsigned at_once = queries <= few_queries ? panels_at_once : 1;
  for (std::uint32_t b = 0; b < blocks; b += at_once) {
    const unsigned count = smaller_of(blocks - b, at_once);
    const std::uint32_t start = b * 16;
    const unsigned from =
      at_once == 1 && start > tile.first_position ? (start - tile.first_position) * tile.group : 0;
    score(tile, s, b, count, from, queries);
    for (unsigned p = 0; p < count; ++p)
      take_block(tile, s, b + p, s.scores + p * 256, queries);
  }
  end(tile, s);
}

} // namespace
