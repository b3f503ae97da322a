// Attention in the threaded backend: which rows go together, and when one query's context is shared by threads.
#include <algorithm>

#include "cpu/threaded_backend.hpp"

namespace troupe::cpu {

namespace {

/// Attention is split into segments where there are fewer rows and KV heads than this for each thread.
constexpr unsigned items_of_a_thread = 4;

} // namespace

std::optional<error> threaded_backend::lay_out_attention() {
  const bool whole_groups = heads_at_once_ * program_.kv_heads == program_.heads;
  split_rows_ = pool_.size() > 1 && whole_groups
                  ? (pool_.size() * items_of_a_thread + program_.kv_heads - 1) / program_.kv_heads
                  : 0;
  // Enough for one row of each of so many sequences that share no block, with a segment of its own for the end of each.
  partials_each_ =
    split_rows_ == 0 ? 0 : std::size_t{options_.kv_blocks} * tokens_per_block / segment_positions + split_rows_;
  auto partials = page_memory::allocate(partials_each_ * program_.kv_heads, attention_partial(shape_) * sizeof(float),
                                        "what attention finds in segments", false);
  if (!partials)
    return partials.error();
  partials_ = std::move(*partials);
  pieces_.reserve(partials_each_);
  first_partial_.reserve(split_rows_);
  segments_left_ = std::make_unique<std::atomic<std::uint32_t>[]>(std::size_t{split_rows_} * program_.kv_heads);
  return {};
}

void threaded_backend::prepare_attention() {
  pieces_.clear();
  first_partial_.clear();
  if (attention_.size() >= split_rows_)
    return;
  std::uint32_t partials = 0;
  for (std::uint32_t i = 0; i < attention_.size(); ++i) {
    const auto& rows = attention_[i];
    const std::uint32_t segments = (rows.span->first_position + rows.offset + rows.rows - 1) / segment_positions + 1;
    first_partial_.push_back(partials);
    partials += segments;
    if (partials > partials_each_) // Several tiles of one sequence may want more.
      return pieces_.clear();
    for (std::uint32_t segment = 0; segment < segments; ++segment)
      pieces_.push_back({i, segment});
    for (std::uint32_t head = 0; head < program_.kv_heads; ++head)
      segments_left_[head * split_rows_ + i].store(segments, std::memory_order_relaxed);
  }
  if (partials == attention_.size())
    pieces_.clear();
}

void threaded_backend::run_attention(const step& what, work_counter& work, unsigned thread) {
  const std::size_t parts = pieces_.empty() ? attention_.size() : pieces_.size();
  const auto items = static_cast<std::uint32_t>(parts * program_.kv_heads);
  for (;;) {
    const std::uint32_t item = work.next.fetch_add(1, std::memory_order_relaxed);
    if (item >= items)
      return;
    const std::uint32_t part = item / program_.kv_heads, kv_head = item % program_.kv_heads;
    if (pieces_.empty())
      attend(what, attention_[part], kv_head, thread);
    else
      attend_to_segment(what, pieces_[part], kv_head, thread);
  }
}

attention_tile threaded_backend::tile_for(const step& what, const attention_rows& rows, std::uint32_t kv_head,
                                          std::uint32_t first_head, unsigned thread) const {
  const std::uint32_t group = program_.heads / program_.kv_heads, row = rows.span->first_row + rows.offset;
  const std::size_t column = std::size_t{kv_head * group + first_head} * program_.head_size;
  return {.shape = shape_,
          .queries = row_of(what.op.input, row) + column,
          .out = row_of(what.op.output, row) + column,
          .row_stride = program_.width_of(what.op.input),
          .rows = rows.rows,
          .group = std::min(heads_at_once_, group - first_head),
          .first_position = rows.span->first_position + rows.offset,
          .scale = program_.attention_scale,
          .kv = kv_of(what.op.layer, kv_head),
          .block_stride = block_stride_,
          .blocks = rows.span->blocks.data(),
          .scratch = scratch_ + thread * attention_scratch(shape_)};
}

void threaded_backend::attend(const step& what, const attention_rows& rows, std::uint32_t kv_head, unsigned thread) {
  for (std::uint32_t head = 0; head < program_.heads / program_.kv_heads; head += heads_at_once_)
    kernels_.attention(tile_for(what, rows, kv_head, head, thread));
  convert_attended(what, rows, kv_head);
}

void threaded_backend::attend_to_segment(const step& what, const attention_piece& piece, std::uint32_t kv_head,
                                         unsigned thread) {
  const auto& rows = attention_[piece.rows];
  const auto tile = tile_for(what, rows, kv_head, 0, thread);
  const std::size_t size = attention_partial(shape_);
  float* partials = partials_.as<float>() + (kv_head * partials_each_ + first_partial_[piece.rows]) * size;
  kernels_.attention_segment(tile, piece.segment, partials + piece.segment * size);
  auto& left = segments_left_[kv_head * split_rows_ + piece.rows];
  if (left.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  left.store(tile.segments(), std::memory_order_relaxed); // For the next layer.
  kernels_.join_segments(tile, partials);
  convert_attended(what, rows, kv_head);
}

void threaded_backend::convert_attended(const step& what, const attention_rows& rows, std::uint32_t kv_head) {
  if (what.form == activation_form::floats)
    return;
  const std::size_t width = std::size_t{program_.heads / program_.kv_heads} * program_.head_size;
  const std::uint32_t first = rows.span->first_row + rows.offset;
  for (std::uint32_t row = first; row < first + rows.rows; ++row)
    convert(what.op.output, row, kv_head * width, width, what.form);
}

} // namespace troupe::cpu
