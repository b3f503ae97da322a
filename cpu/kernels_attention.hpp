// Attention of a tile of queries against one KV head; included by each instruction set's translation unit.
//
// For each query: 64 positions at a time (four blocks, from a multiple of 64 on) in ascending order, from position 0 to
// its own. A score is one chain of FMAs over the head; then come the running maximum, the weights exp(score - maximum),
// and one chain of FMAs over the positions. Positions after the query's own are never read into a result, whatever a block holds there. Each
// segment of 256 positions is computed by itself, so that several threads can share one query's context, and joined
// with those before it.
// Source: https://arxiv.org/abs/1805.02867 (online softmax).
//
// `Number` is how a key or a value is stored: std::uint16_t is a bfloat16, std::int8_t an integer. Integers have a scale for each
// position. A key's goes into its score and a value's into its weight, so that the products are the same chains of FMAs.

namespace {

inline lanes load_number(const std::uint16_t* p) {
  return lanes::load_bfloat(p);
}
inline lanes load_number(const std::int8_t* p) {
  return lanes::load_int8(p);
}
template <class Number>
constexpr bool has_scales = sizeof(Number) == 1;

/// For P matrices at once: c[p][r] += sum over k of a[r][k] * b[p][k], where b[p][k] are 16 numbers; k
/// ascends. Each c[p][r] is one chain of FMAs; P only keeps the CPU busy where R is small. a[r][k] lies at
/// [k / 16][r][k % 16] with room for 16 rows, so that rows are a constant apart and need no register each. For b there
/// is a pointer for each 16 of k: b[k / 16][p] + k % 16 * b_stride.
template <class Number, unsigned R, unsigned P>
void add_products(const float* a, const Number* const* b, std::size_t b_stride, unsigned count, float* c,
                  std::size_t c_stride, std::size_t c_next) {
  lanes acc[P][R];
  for (unsigned p = 0; p < P; ++p)
    for (unsigned r = 0; r < R; ++r)
      acc[p][r] = lanes::load(c + p * c_next + r * c_stride);
  for (unsigned left = count; left != 0; a += 256, b += P) {
    const unsigned now = smaller_of(left, 16);
    for (unsigned k = 0; k < now; ++k)
      for (unsigned p = 0; p < P; ++p) {
        const lanes row = load_number(b[p] + k * b_stride);
        for (unsigned r = 0; r < R; ++r)
          acc[p][r] = fma(lanes::all(a[r * 16 + k]), row, acc[p][r]);
      }
    left -= now;
  }
  for (unsigned p = 0; p < P; ++p)
    for (unsigned r = 0; r < R; ++r)
      acc[p][r].store(c + p * c_next + r * c_stride);
}

template <class Number>
using product_function = void (*)(const float*, const Number* const*, std::size_t, unsigned, float*, std::size_t,
                                  std::size_t);

constexpr unsigned few_queries = 4, panels_at_once = 4;

/// R from 1 to 16 and one matrix; R from 1 to few_queries and panels_at_once of them.
template <class Number>
constexpr product_function<Number> one_panel[] = {
  nullptr,
  add_products<Number, 1, 1>,
  add_products<Number, 2, 1>,
  add_products<Number, 3, 1>,
  add_products<Number, 4, 1>,
  add_products<Number, 5, 1>,
  add_products<Number, 6, 1>,
  add_products<Number, 7, 1>,
  add_products<Number, 8, 1>,
  add_products<Number, 9, 1>,
  add_products<Number, 10, 1>,
  add_products<Number, 11, 1>,
  add_products<Number, 12, 1>,
  add_products<Number, 13, 1>,
  add_products<Number, 14, 1>,
  add_products<Number, 15, 1>,
  add_products<Number, 16, 1>,
};
template <class Number>
constexpr product_function<Number> four_panels[] = {nullptr, add_products<Number, 1, 4>, add_products<Number, 2, 4>,
                                                    add_products<Number, 3, 4>, add_products<Number, 4, 4>};

constexpr unsigned blocks_at_once = 4; ///< Of 16 positions.

/// Pointers for `add_products` to `count` blocks or chunks of a head, for P panels of 16 numbers at `panel`.
template <unsigned P, class Number>
inline void point_at(const Number* const* blocks, unsigned count, std::size_t panel, const Number** pointers) {
  for (unsigned block = 0; block < count; ++block)
    for (unsigned p = 0; p < P; ++p)
      pointers[block * P + p] = blocks[block] + panel + p * 16;
}

/// outputs[r] += weights[r] * values, for `rows` queries from `first` on and the first `count` positions of `values`,
/// of which there is a pointer for each block.
template <class Number>
inline void add_values(unsigned first, unsigned rows, const float* weights, const Number* const* values,
                       std::size_t padded, unsigned count, float* outputs) {
  const unsigned blocks = (count + 15) / 16;
  const Number* pointers[blocks_at_once * panels_at_once];
  weights += first * 16;
  outputs += first * padded;
  std::size_t i = 0;
  for (; rows <= few_queries && i + panels_at_once * 16 <= padded; i += panels_at_once * 16) {
    point_at<panels_at_once>(values, blocks, i, pointers);
    four_panels<Number>[rows](weights, pointers, padded, count, outputs + i, padded, 16);
  }
  for (; i < padded; i += 16) {
    point_at<1>(values, blocks, i, pointers);
    one_panel<Number>[rows](weights, pointers, padded, count, outputs + i, padded, 0);
  }
}

/// What some queries have found so far, in `attention_partial` floats. Queries are numbered row by row, the heads of a
/// row after one another.
struct partial_result {
  float* maximum; // [16]
  float* totals;  // [16][16]: a sum for each lane, added up at the end
  float* outputs; // [16][padded]
};

inline partial_result partial_at(float* memory) {
  return {memory, memory + 16, memory + 16 + 256};
}

/// The tile's working memory.
struct attention_state {
  float* queries; // [padded / 16][16][16], times the scale
  float* scores;  // [blocks_at_once][16][16]
  float* totals;  // of a partial_result
  float* outputs; // of a partial_result
  lanes maximum;  // a lane for each query
};

inline void load_queries(const attention_tile& tile, float* queries) {
  const std::size_t head = tile.shape.head_size;
  const lanes scale = lanes::all(tile.scale);
  for (unsigned r = 0; r < tile.rows; ++r)
    for (unsigned g = 0; g < tile.group; ++g) {
      const unsigned q = r * tile.group + g;
      const float* from = tile.queries + r * tile.row_stride + g * head;
      for_lanes(
        head, [&](std::size_t i, unsigned n) { (load_some(from + i, n) * scale).store(queries + i * 16 + q * 16); });
    }
}

/// Queries that do not see position `start`.
inline unsigned blind_queries(const attention_tile& tile, std::uint32_t start) {
  return start > tile.first_position ? (start - tile.first_position) * tile.group : 0;
}

/// `a` in the lanes of block `b` that a query sees who sees `seen` positions of some blocks, and else `otherwise`.
inline lanes keep_seen(unsigned seen, unsigned b, lanes a, lanes otherwise) {
  return seen >= b * 16 + 16 ? a : seen > b * 16 ? keep_first(seen - b * 16, a, otherwise) : otherwise;
}

/// Numbers of one KV head in one block.
template <class Number>
inline const Number* numbers_of(const attention_tile& tile, std::uint32_t block) {
  return reinterpret_cast<const Number*>(tile.kv + tile.blocks[block] * tile.block_stride);
}

/// The scales of its 16 keys, then of its 16 values.
inline const float* scales_of(const attention_tile& tile, std::uint32_t block) {
  return reinterpret_cast<const float*>(tile.kv + tile.blocks[block] * tile.block_stride + tile.shape.numbers());
}

/// Turns the scores of queries [from, count) with the `blocks` blocks from `block` on into weights, and rescales what
/// they have so far to their new maximum. Query q sees the first seen[q] of the blocks' positions.
template <class Number>
inline void softmax(const attention_tile& tile, attention_state& s, std::uint32_t block, unsigned blocks,
                    unsigned from, unsigned count, const unsigned* seen) {
  const std::size_t padded = tile.shape.padded;
  alignas(64) float old_maximum[16], new_maximum[16], factor[16];
  lanes key_scales[blocks_at_once], value_scales[blocks_at_once];
  if constexpr (has_scales<Number>)
    for (unsigned b = 0; b < blocks; ++b) {
      key_scales[b] = lanes::load(scales_of(tile, block + b));
      value_scales[b] = lanes::load(scales_of(tile, block + b) + 16);
    }
  const auto score_of = [&](unsigned q, unsigned b) {
    const lanes score = lanes::load(s.scores + b * 256 + q * 16);
    if constexpr (has_scales<Number>)
      return score * key_scales[b];
    else
      return score;
  };
  s.maximum.store(old_maximum);
  s.maximum.store(new_maximum);
  for (unsigned q = from; q < count; ++q) {
    lanes most = lanes::all(-1e30f);
    for (unsigned b = 0; b < blocks; ++b)
      most = larger(most, keep_seen(seen[q], b, score_of(q, b), lanes::all(-1e30f)));
    const float largest = largest_of(most);
    new_maximum[q] = largest > old_maximum[q] ? largest : old_maximum[q];
  }
  const lanes now = lanes::load(new_maximum);
  const bool same = all_equal(now, s.maximum);
  exp_of(s.maximum - now).store(factor);
  s.maximum = now;
  for (unsigned q = from; q < count; ++q) {
    const lanes scale = lanes::all(factor[q]), largest = lanes::all(new_maximum[q]);
    lanes total = lanes::load(s.totals + q * 16) * scale;
    for (unsigned b = 0; b < blocks; ++b) {
      const lanes kept = keep_seen(seen[q], b, exp_of(score_of(q, b) - largest), lanes::zero());
      total = total + kept;
      float* weights = s.scores + b * 256 + q * 16;
      if constexpr (has_scales<Number>)
        (kept * value_scales[b]).store(weights); // What is not seen may be anything: nobody reads it.
      else
        kept.store(weights);
    }
    total.store(s.totals + q * 16);
    if (same) // Then all factors are exactly 1.
      continue;
    for (std::size_t i = 0; i < padded; i += 16)
      (lanes::load(s.outputs + q * padded + i) * scale).store(s.outputs + q * padded + i);
  }
}

/// Adds what a later segment has found to what those before it have.
inline void join(const attention_tile& tile, const partial_result& all, const partial_result& next,
                 std::uint32_t segment) {
  const std::size_t padded = tile.shape.padded;
  const lanes old = lanes::load(all.maximum), other = lanes::load(next.maximum), now = larger(old, other);
  alignas(64) float old_factor[16], other_factor[16];
  exp_of(old - now).store(old_factor);
  exp_of(other - now).store(other_factor);
  now.store(all.maximum);
  // Who does not see the segment keeps all its bits.
  for (unsigned q = blind_queries(tile, segment * segment_positions); q < tile.rows * tile.group; ++q) {
    const auto add = [&](float* to, const float* from) {
      fma(lanes::load(from), lanes::all(other_factor[q]), lanes::load(to) * lanes::all(old_factor[q])).store(to);
    };
    add(all.totals + q * 16, next.totals + q * 16);
    for (std::size_t i = 0; i < padded; i += 16)
      add(all.outputs + q * padded + i, next.outputs + q * padded + i);
  }
}

inline void finish_attention(const attention_tile& tile, const partial_result& all) {
  const std::size_t padded = tile.shape.padded, head = tile.shape.head_size;
  for (unsigned r = 0; r < tile.rows; ++r)
    for (unsigned g = 0; g < tile.group; ++g) {
      const unsigned q = r * tile.group + g;
      const lanes inverse = lanes::all(1.0f / sum_of(lanes::load(all.totals + q * 16)));
      float* to = tile.out + r * tile.row_stride + g * head;
      for_lanes(head, [&](std::size_t i, unsigned n) {
        store_some(lanes::load(all.outputs + q * padded + i) * inverse, to + i, n);
      });
    }
}

/// The scores of all queries with blocks [block, block + count); those with a block that a query does not see may be
/// anything.
template <class Number>
inline void score(const attention_tile& tile, const attention_state& s, std::uint32_t block, unsigned count) {
  const unsigned queries = tile.rows * tile.group, head = tile.shape.head_size;
  const bool together = queries <= few_queries && count == panels_at_once;
  for (unsigned p = 0; p < count; ++p)
    for (unsigned q = 0; q < queries; ++q)
      lanes::zero().store(s.scores + p * 256 + q * 16);
  constexpr unsigned chunks_at_once = 8; // Of 16 numbers of a head: 128 are a usual size.
  const Number *blocks[panels_at_once], *pointers[chunks_at_once * panels_at_once];
  for (unsigned p = 0; p < count; ++p)
    blocks[p] = numbers_of<Number>(tile, block + p);
  for (unsigned k = 0; k < head; k += chunks_at_once * 16) {
    const unsigned columns = smaller_of(head - k, chunks_at_once * 16), chunks = (columns + 15) / 16;
    const float* a = s.queries + k * 16;
    if (together) {
      for (unsigned i = 0; i < chunks * panels_at_once; ++i)
        pointers[i] = blocks[i % panels_at_once] + (k + i / panels_at_once * 16) * 16;
      four_panels<Number>[queries](a, pointers, 16, columns, s.scores, 16, 256);
      continue;
    }
    for (unsigned p = 0; p < count; ++p) {
      for (unsigned i = 0; i < chunks; ++i)
        pointers[i] = blocks[p] + (k + i * 16) * 16;
      const unsigned from = blind_queries(tile, (block + p) * 16);
      one_panel<Number>[queries - from](a + from * 16, pointers, 16, columns, s.scores + p * 256 + from * 16, 16, 0);
    }
  }
}

/// Some blocks, whose scores are there.
template <class Number>
inline void take_blocks(const attention_tile& tile, attention_state& s, std::uint32_t block, unsigned count) {
  const std::size_t padded = tile.shape.padded;
  const std::uint32_t start = block * 16, position = tile.first_position;
  const Number* values[blocks_at_once];
  for (unsigned b = 0; b < count; ++b)
    values[b] = numbers_of<Number>(tile, block + b) + tile.shape.keys();
  const auto seen_by = [&](unsigned row) { return smaller_of(position + row + 1 - start, count * 16); };
  const unsigned queries = tile.rows * tile.group, first = blind_queries(tile, start) / tile.group;
  unsigned seen[16];
  for (unsigned r = first, q = first * tile.group; r < tile.rows; ++r)
    for (unsigned g = 0; g < tile.group; ++g)
      seen[q++] = seen_by(r);
  softmax<Number>(tile, s, block, count, first * tile.group, queries, seen);
  // Whole blocks that all rows see go together, then each row by itself.
  const unsigned common = seen_by(first) / 16;
  if (common != 0)
    add_values(first * tile.group, queries - first * tile.group, s.scores, values, padded, common * 16, s.outputs);
  for (unsigned r = first; r < tile.rows; ++r)
    if (seen_by(r) > common * 16)
      add_values(r * tile.group, tile.group, s.scores + common * 256, values + common, padded,
                 seen_by(r) - common * 16, s.outputs);
}

/// One segment, with the queries loaded.
template <class Number>
inline void take_numbers(const attention_tile& tile, std::uint32_t segment, float* queries, float* scores,
                         const partial_result& to) {
  constexpr std::uint32_t blocks_of_segment = segment_positions / 16;
  const unsigned count = tile.rows * tile.group;
  attention_state s{queries, scores, to.totals, to.outputs, lanes::all(-1e30f)};
  for (unsigned q = 0; q < count; ++q) {
    lanes::zero().store(s.totals + q * 16);
    for (std::size_t i = 0; i < tile.shape.padded; i += 16)
      lanes::zero().store(s.outputs + q * tile.shape.padded + i);
  }
  const std::uint32_t all_blocks = (tile.first_position + tile.rows - 1) / 16 + 1;
  const std::uint32_t begin = segment * blocks_of_segment,
                      end = begin + smaller_of(all_blocks - begin, blocks_of_segment);
  for (std::uint32_t b = begin; b < end; b += blocks_at_once) {
    const unsigned blocks = smaller_of(end - b, blocks_at_once);
    score<Number>(tile, s, b, blocks);
    take_blocks<Number>(tile, s, b, blocks);
  }
  s.maximum.store(to.maximum);
}

inline void take_segment(const attention_tile& tile, std::uint32_t segment, float* queries, float* scores,
                         const partial_result& to) {
  if (tile.shape.dtype == kv_cache_dtype::int8)
    take_numbers<std::int8_t>(tile, segment, queries, scores, to);
  else
    take_numbers<std::uint16_t>(tile, segment, queries, scores, to);
}

inline float* scores_in(const attention_tile& tile) {
  return tile.scratch + std::size_t{16} * tile.shape.padded;
}

void attention_segment(const attention_tile& tile, std::uint32_t segment, float* partial) {
  load_queries(tile, tile.scratch);
  take_segment(tile, segment, tile.scratch, scores_in(tile), partial_at(partial));
}

void join_segments(const attention_tile& tile, float* partials) {
  const partial_result all = partial_at(partials);
  for (std::uint32_t segment = 1; segment < tile.segments(); ++segment)
    join(tile, all, partial_at(partials + segment * attention_partial(tile.shape)), segment);
  finish_attention(tile, all);
}

void attention(const attention_tile& tile) {
  float* scores = scores_in(tile);
  const partial_result all = partial_at(scores + blocks_at_once * 256);
  const partial_result next = partial_at(scores + blocks_at_once * 256 + attention_partial(tile.shape));
  load_queries(tile, tile.scratch);
  take_segment(tile, 0, tile.scratch, scores, all);
  for (std::uint32_t segment = 1; segment < tile.segments(); ++segment) {
    take_segment(tile, segment, tile.scratch, scores, next);
    join(tile, all, next, segment);
  }
  finish_attention(tile, all);
}

} // namespace
