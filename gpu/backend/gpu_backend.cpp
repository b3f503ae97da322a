#include "gpu/backend/gpu_backend.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include <fmt/format.h>

#include "gpu/kernels/attention_kernels.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"

namespace troupe::gpu {

namespace {

constexpr unsigned row_threads = 256; ///< Of kernels that work row by row.
constexpr unsigned divided_up(std::size_t count, unsigned by) {
  return static_cast<unsigned>((count + by - 1) / by);
}

} // namespace

template <class Kernel>
expected<void> gpu_backend::launch(const typename Kernel::arguments& arguments, extent3 blocks, unsigned threads,
                                   std::size_t shared_bytes) {
  return device_->launch(stream_, kernel_index<Kernel, all_kernels>::value, {blocks, threads, shared_bytes},
                         &arguments);
}

expected<void> gpu_backend::launch(const launch_plan& how, const void* arguments) {
  return device_->launch(stream_, how.kernel, how.shape, arguments);
}

std::size_t gpu_backend::layer_block_bytes() const {
  return std::size_t{2} * layout_.kv_heads * positions_per_block * layout_.head_size * sizeof(bf16);
}

std::size_t gpu_backend::parts_of_row(std::size_t positions) const {
  return program_.heads * ((positions + split_positions - 1) / split_positions) *
         (layout_.head_size + partial_extra) * sizeof(float);
}

std::size_t gpu_backend::parts_room() const {
  constexpr std::size_t usual = std::size_t{32} << 20; // A larger batch is attended in pieces.
  return std::max(usual, parts_of_row(positions()));
}

/// Of the longest tables that a step can have, of its sampling, and of all else.
std::size_t gpu_backend::words_room() const {
  const auto table = (positions() + tokens_per_block - 1) / tokens_per_block;
  return (std::size_t{options_.max_rows} * (table + 8) + 16) * sizeof(std::uint32_t) + sampling_.words_room();
}

std::size_t gpu_backend::positions() const {
  return std::min<std::size_t>(program_.context_length, std::size_t{options_.kv_blocks} * tokens_per_block);
}

communicator::deadline gpu_backend::deadline() const {
  return std::chrono::steady_clock::now() + options_.collective_timeout;
}

expected<void> gpu_backend::exchange(std::span<const std::byte> mine, std::span<std::byte> all) {
  return logit_parts_.shared() ? options_.group->all_gather(mine, all, deadline()) : backend::exchange(mine, all);
}

expected<void> gpu_backend::forward(const forward_batch& batch, std::span<float> logits) {
  assert(batch.tokens.size() <= options_.max_rows && batch.logit_rows.size() <= options_.max_logit_rows);
  assert(logits.size() == batch.given_logits() * program_.vocabulary);
  assert(fits_stage(batch, program_) && begun_.empty());
  if (auto met = meet(); !met)
    return met;
  if (auto done = compute(batch); !done)
    return done;
  return input_.kept_rows > 0 || program_.gives_hidden() ? bring_results(batch, logits) : finish();
}

/// Queues everything between what the host brings and what it takes away, in one way or another.
expected<void> gpu_backend::compute(const forward_batch& batch) {
  sampling_.take(batch.sampling);
  if (auto shape = graphs_wanted_ ? decodes_.shape_of(batch) : std::nullopt) {
    shape->sampling = sampling_.kind();
    return compute_by_graph(batch, *shape);
  }
  input_.lay_out(batch, {.every_row_alone = options_.batch_invariant});
  if (auto done = bring(batch.sampling.empty() ? 0 : batch.logit_rows.size()); !done)
    return done;
  return run_steps(batch);
}

expected<void> gpu_backend::run_steps(const forward_batch& batch) {
  rows_ = input_.rows;
  logit_rows_ = static_cast<std::uint32_t>(batch.logit_rows.size());
  buffers_[static_cast<std::size_t>(device_buffer::hidden)] = first_hidden_;
  buffers_[static_cast<std::size_t>(device_buffer::attended)] = first_attended_;
  for (const auto& step : steps_) {
    if (step.kind == step_kind::take_rows && input_.kept_rows == 0)
      break;
    if (auto done = run(step, batch); !done)
      return done;
  }
  return sampling_.kind() == sampling_kind::none
           ? expected<void>{}
           : sampling_.queue(*device_, stream_, words_, at(device_buffer::logits));
}

expected<void> gpu_backend::compute_by_graph(const forward_batch& batch, const decode_shape& shape) {
  const auto& padded = decodes_.pad(batch, shape);
  input_.lay_out(padded, {.every_row_alone = true, .longest = shape.longest});
  if (auto done = bring(batch.sampling.empty() ? 0 : shape.rows); !done)
    return done;
  auto graph = graphs_.find(shape);
  if (!graph && graphs_.comes_again(shape)) {
    auto made = make_graph(padded, shape);
    if (!made)
      return tl::unexpected(made.error());
    graph = *made;
  }
  return graph ? device_->launch(stream_, *graph) : run_steps(padded);
}

/// None where there is no memory for one: it computes as well without.
expected<std::optional<graph_id>> gpu_backend::make_graph(const forward_batch& batch, const decode_shape& shape) {
  if (auto done = graphs_.make_room(*device_); !done)
    return tl::unexpected(done.error());
  const auto before = device_->memory();
  if (auto begun = device_->begin_capture(stream_); !begun)
    return tl::unexpected(begun.error());
  auto done = run_steps(batch);
  const auto made = device_->end_capture(stream_); // Also of what has failed: the stream must not stay captured.
  if (!done)
    return tl::unexpected(done.error());
  if (!made && made.error().code == errc::out_of_memory) {
    const auto smaller = graphs_.shrink(*device_);
    if (!smaller)
      return tl::unexpected(smaller.error());
    graphs_wanted_ = *smaller;
    return std::nullopt;
  }
  if (!made)
    return tl::unexpected(made.error());
  const auto after = device_->memory();
  graphs_.add(shape, *made,
              before && after && before->free_bytes > after->free_bytes ? before->free_bytes - after->free_bytes : 0);
  return *made;
}

/// The step's words, to the device.
expected<void> gpu_backend::bring(std::size_t sampled_rows) {
  if (sampled_rows > 0)
    sampling_.write(input_.words, static_cast<std::uint32_t>(sampled_rows));
  const auto bytes = input_.words.size() * sizeof(std::uint32_t);
  assert(bytes <= words_room());
  side_ = 1 - side_; // What the device has not read yet may be in the other one.
  std::memcpy(reinterpret_cast<void*>(sides_[side_].words), input_.words.data(), bytes);
  return device_->copy(stream_, words_, sides_[side_].words, bytes);
}

expected<void> gpu_backend::run(const step& step, const forward_batch& batch) {
  switch (step.kind) {
  case step_kind::embed:
    return embed(step);
  case step_kind::take_hidden:
    std::ranges::copy(batch.input, staged());
    return device_->copy(stream_, at(device_buffer::hidden), staging_, batch.input.size_bytes());
  case step_kind::norm:
    return is_gathered_ ? add_gathered(step) : norm(step);
  case step_kind::product:
    return multiply(step);
  case step_kind::rope_store:
    return rope_store(step);
  case step_kind::attention:
    return attend(step);
  case step_kind::swiglu:
    return activate(step);
  case step_kind::add:
    if (is_gathered_)
      return add_gathered(step);
    return launch<add_rows>({{at(device_buffer::hidden)}, {at(device_buffer::projected)}, rows_ * program_.width},
                            {divided_up(std::size_t{rows_} * program_.width, row_threads * 4)}, row_threads);
  case step_kind::take_rows:
    return take_rows();
  case step_kind::all_reduce:
    return all_reduce(step);
  case step_kind::all_gather: // Done with the results, on the host.
    return {};
  case step_kind::give_hidden:
    return give_hidden(step, batch);
  }
  return {};
}

expected<void> gpu_backend::embed(const step& step) {
  return weights_.embed(*device_, stream_, step.op, word(input_.tokens), sampling_.results(),
                        at(device_buffer::hidden), rows_);
}

expected<void> gpu_backend::norm(const step& step) {
  return launch<add_rms_norm>({{at(device_buffer::hidden)},
                               {step.adds ? at(device_buffer::projected) : 0},
                               {weights_.vector(step.op.weight)},
                               {at(device_buffer::normed)},
                               program_.width,
                               program_.rms_epsilon},
                              {rows_}, row_threads, add_rms_norm::shared_bytes);
}

expected<void> gpu_backend::multiply(const step& step) {
  device_product what;
  what.x = at(step.input);
  what.y = at(step.output);
  what.rows = rows_;
  what.stride = width_of(step.output);
  what.accumulates = step.accumulates;
  what.batch_invariant = options_.batch_invariant;
  if (step.output == device_buffer::logits) {
    what.rows = logit_rows_;
    what.y += std::size_t{logit_parts_.own().begin} * sizeof(float);
    if (what.rows == 0)
      return {};
  }
  return weights_.multiply(*device_, stream_, step.op, what);
}

expected<void> gpu_backend::rope_store(const step& step) {
  rope_store::arguments a{};
  a.query = {at(device_buffer::query)};
  a.key = {at(device_buffer::key)};
  a.value = {at(device_buffer::value)};
  a.rotated = {at(device_buffer::rotated)};
  a.cache = {cache_of(step.op.layer)};
  a.angles = {angles_};
  a.positions = {word(input_.positions)};
  a.blocks = {word(input_.blocks)};
  a.heads = program_.heads;
  a.rotated_size = program_.rope.size;
  a.layout = layout_;
  a.halves = program_.rope.layout == rope_layout::halves;
  return launch<gpu::rope_store>(a, {rows_}, row_threads);
}

/// Single rows, in as many launches as there is room for their splits.
expected<void> gpu_backend::attend_rows(const step& step, const decode_run& run) {
  const auto splits = divided_up(run.longest, split_positions);
  const auto at_once = static_cast<std::uint32_t>(parts_room() / parts_of_row(run.longest));
  const std::size_t row_bytes = std::size_t{width_of(device_buffer::attended)} * sizeof(bf16);
  constexpr std::uint32_t pieces_a_breath = 16; // Of two launches each.
  for (std::uint32_t first = 0; first < run.rows; first += at_once) {
    if (ranks_ && first > 0 && first / at_once % pieces_a_breath == 0)
      if (auto room = ranks_->breathe(stream_); !room)
        return room;
    const auto count = std::min(at_once, run.rows - first);
    const auto rows_before = (run.first_row + first) * row_bytes;
    decode_attention_arguments a{};
    a.query = {at(device_buffer::rotated) + rows_before};
    a.cache = {cache_of(step.op.layer)};
    a.table = {word(run.tables + first * run.stride)};
    a.lengths = {word(run.lengths + first)};
    a.parts = {parts_};
    a.heads = program_.heads;
    a.kv_heads = program_.kv_heads;
    a.table_stride = run.stride;
    a.splits = splits;
    a.scale = program_.attention_scale;
    if (auto done =
          launch(*plan_decode_attention(layout_.head_size, program_.heads, program_.kv_heads, count, splits), &a);
        !done)
      return done;
    combine_splits_arguments combined{};
    combined.parts = a.parts;
    combined.lengths = a.lengths;
    combined.attended = {at(device_buffer::attended) + rows_before};
    combined.heads = program_.heads;
    combined.splits = splits;
    if (auto done = launch(*plan_combine_splits(layout_.head_size, count, program_.heads), &combined); !done)
      return done;
  }
  return {};
}

expected<void> gpu_backend::attend(const step& step) {
  for (const auto& run : input_.runs)
    if (auto done = attend_rows(step, run); !done)
      return done;
  if (input_.tile_count == 0)
    return {};
  prefill_attention_arguments a{};
  a.query = {at(device_buffer::rotated)};
  a.cache = {cache_of(step.op.layer)};
  a.tables = {word(input_.tables)};
  a.tiles = {word(input_.tiles)};
  a.attended = {at(device_buffer::attended)};
  a.heads = program_.heads;
  a.kv_heads = program_.kv_heads;
  a.scale = program_.attention_scale;
  return launch(*plan_prefill_attention(layout_.head_size, input_.tile_count, program_.heads), &a);
}

expected<void> gpu_backend::activate(const step&) {
  const auto count = rows_ * width_of(device_buffer::gate);
  return launch<swiglu>({{at(device_buffer::gate)}, {at(device_buffer::up)}, {at(device_buffer::activated)}, count},
                        {divided_up(count, row_threads * 4)}, row_threads);
}

/// From here on there are only the rows that are wanted.
expected<void> gpu_backend::take_rows() {
  const global<const std::uint32_t> kept{word(input_.kept)};
  const auto attended_words = program_.heads * program_.head_size / 2; // Two brain floats are moved like one float.
  for (const auto& [from, to, width] :
       {std::tuple(first_hidden_, kept_hidden_, program_.width), {first_attended_, kept_attended_, attended_words}})
    if (auto done = launch<gpu::take_rows>({{from}, kept, {to}, width}, {input_.kept_rows}, row_threads); !done)
      return done;
  buffers_[static_cast<std::size_t>(device_buffer::hidden)] = kept_hidden_;
  buffers_[static_cast<std::size_t>(device_buffer::attended)] = kept_attended_;
  rows_ = input_.kept_rows;
  return {};
}

expected<void> gpu_backend::give_hidden(const step&, const forward_batch& batch) {
  if (!batch.output.empty())
    if (auto done = device_->copy(stream_, staging_, at(device_buffer::hidden), batch.output.size_bytes()); !done)
      return done;
  if (auto done = finish(); !done)
    return done;
  std::copy_n(staged(), batch.output.size(), batch.output.begin());
  return {};
}

expected<void> gpu_backend::bring_results(const forward_batch& batch, std::span<float> logits) {
  if (program_.gives_hidden())
    return {};
  const auto& own = logit_parts_.own();
  const std::size_t stride = width_of(device_buffer::logits);
  const auto [from, bytes] = batch.sampling.empty()
                               ? std::pair(at(device_buffer::logits), batch.given_logits() * stride * sizeof(float))
                               : std::pair(sampling_.results(), sampling_.result_bytes());
  if (bytes > 0)
    if (auto done = device_->copy(stream_, staging_, from, bytes); !done)
      return done;
  const auto width = program_.width;
  const auto hidden_bytes = batch.hidden_rows.size() * width * sizeof(bf16);
  const auto hidden_at = staging_ + bytes;
  if (hidden_bytes > 0)
    if (auto done =
          device_->copy(stream_, hidden_at,
                        at(device_buffer::normed) + batch.logit_rows.size() * width * sizeof(bf16), hidden_bytes);
        !done)
      return done;
  if (auto done = finish(); !done)
    return done;
  std::transform(reinterpret_cast<const bf16*>(hidden_at),
                 reinterpret_cast<const bf16*>(hidden_at) + batch.hidden.size(), batch.hidden.begin(),
                 [](bf16 each) { return to_float(each); });
  read_choices(staging_, sampling_.rows(), batch.sampling, batch.chosen);
  for (std::size_t row = 0; row < batch.given_logits(); ++row)
    std::copy_n(staged() + row * stride + own.begin, own.end - own.begin,
                logits.begin() + static_cast<std::ptrdiff_t>(row * program_.vocabulary + own.begin));
  if (!logit_parts_.shared() || logits.empty())
    return {};
  return logit_parts_.gather(logits, batch.own_logits, *options_.group, deadline());
}

/// What moves a block of all layers through one buffer; its number is the first word of that.
staging_arguments gpu_backend::staged_block(address word) const {
  staging_arguments a{};
  a.cache = {{cache_}, layer_stride(), static_cast<std::uint32_t>(layer_block_bytes())};
  a.blocks = {word};
  a.staging = {word + weight_part_alignment};
  return a;
}

expected<void> gpu_backend::move_block(block_id block, bool out) const {
  const auto bytes = block_bytes(0);
  const auto device_bytes = block_buffer_ + weight_part_alignment, host_bytes = staged_block_ + weight_part_alignment;
  const auto kernel =
    out ? kernel_index<gather_blocks, all_kernels>::value : kernel_index<scatter_blocks, all_kernels>::value;
  *reinterpret_cast<block_id*>(staged_block_) = block;
  const auto arguments = staged_block(block_buffer_);
  auto done = device_->copy(stream_, block_buffer_, staged_block_, sizeof block);
  if (done && !out)
    done = device_->copy(stream_, device_bytes, host_bytes, bytes);
  if (done)
    done =
      device_->launch(stream_, kernel, block_copy_grid(1, program_.layers, arguments.cache.block_bytes), &arguments);
  if (done && out)
    done = device_->copy(stream_, host_bytes, device_bytes, bytes);
  return done ? device_->synchronize(stream_) : done;
}

expected<void> gpu_backend::read_block(kv_group, block_id block, std::span<std::byte> to) const {
  assert(to.size() == block_bytes(0));
  if (auto done = move_block(block, true); !done)
    return done;
  std::memcpy(to.data(), reinterpret_cast<const void*>(staged_block_ + weight_part_alignment), to.size());
  return {};
}

expected<void> gpu_backend::write_block(kv_group, block_id block, std::span<const std::byte> from) {
  assert(from.size() == block_bytes(0));
  std::memcpy(reinterpret_cast<void*>(staged_block_ + weight_part_alignment), from.data(), from.size());
  return move_block(block, false);
}

expected<void> gpu_backend::copy_block(kv_group, block_id from, block_id to) {
  assert(from != to);
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    if (auto done = device_->copy(stream_, cache_of(layer) + to * layer_block_bytes(),
                                  cache_of(layer) + from * layer_block_bytes(), layer_block_bytes());
        !done)
      return done;
  return {};
}

} // namespace troupe::gpu
