#include "cpu/threaded_backend.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "cpu/backends.hpp"
#include "cpu/sine.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"

namespace troupe::cpu {

namespace {

/// Panels that one thread takes whole: of logits those of a block that sampling looks at, which it does at once.
constexpr std::uint32_t panels_together(const product& what) {
  return what.op.output == buffer::logits ? sampling::block_tokens / panel_columns : 1;
}

kv_shape shape_of(const model_program& program, kv_cache_dtype dtype) {
  return {.head_size = program.head_size, .padded = (program.head_size + 15) / 16 * 16, .dtype = dtype};
}

} // namespace

std::optional<error> threaded_backend::load(std::shared_ptr<const gguf::file> file) {
  frequencies_ = frequencies_of(program_, *file);
  auto loaded = weights::load(std::move(file), program_, pool_);
  if (!loaded)
    return loaded.error();
  weights_ = std::move(*loaded);
  steps_ = plan_steps(
    program_, [this](const std::string& weight) { return quantised(weight); }, options_.arithmetic);
  bind_weights();
  counters_.resize(steps_.size());
  shape_ = shape_of(program_, options_.kv_dtype);
  block_stride_ = cpu_kv_block_bytes(program_, options_.kv_dtype);
  const std::uint32_t group = program_.heads / program_.kv_heads;
  heads_at_once_ = std::min(group, 16u);
  attention_rows_ = 16 / heads_at_once_;
  auto kv = page_memory::allocate(options_.kv_blocks, block_stride_, "the KV cache", false);
  if (!kv)
    return kv.error();
  kv_ = std::move(*kv);
  positions_.reserve(options_.max_rows);
  blocks_.reserve(options_.max_rows);
  attention_.reserve(options_.max_rows);
  if (!program_.gives_hidden()) {
    logit_parts_.reserve(options_.max_logit_rows);
    largest_logits_.resize(options_.max_logit_rows * sampling::blocks_of(program_.vocabulary));
  }
  if (auto failure = lay_out_attention())
    return failure;
  return lay_out_workspace();
}

void threaded_backend::bind_weights() {
  for (auto& step : steps_) {
    for (auto& operation : step.row_operations)
      if (operation.op.kind == op_kind::rms_norm)
        operation.weight = weights_.vector(operation.op.weight);
    for (auto& product : step.products) {
      product.matrix = &weights_.matrix(product.op.weight);
      product.bias =
        product.op.bias.empty() ? nullptr : weights_.vector(product.op.bias) + product.op.slice.first_row;
    }
  }
}

std::optional<error> threaded_backend::lay_out_workspace() {
  std::size_t bytes = 0;
  const auto place = [&](std::size_t count, std::size_t size) {
    const std::size_t at = bytes;
    bytes += (count * size + 63) / 64 * 64;
    return at;
  };
  bool takes[forms_count][buffer_count] = {};
  bool rounds = false;
  for (const auto& step : steps_)
    for (const auto& product : step.products) {
      takes[static_cast<std::size_t>(product.form)][static_cast<std::size_t>(product.op.input)] = true;
      rounds = rounds || product.form == activation_form::bfloats;
    }
  std::size_t float_at[buffer_count], form_at[forms_count][buffer_count] = {};
  const std::size_t rows = options_.max_rows, tiles = (rows + tile_rows - 1) / tile_rows;
  for (std::size_t i = 0; i < buffer_count; ++i) {
    const std::size_t width =
      i == static_cast<std::size_t>(buffer::logits) ? 0 : program_.width_of(static_cast<buffer>(i));
    float_at[i] = place(rows * width, sizeof(float));
    const std::size_t blocks = tiles * bf16_blocks(width); // Whole ones, where they are integers.
    const std::size_t sizes[forms_count] = {0, sizeof(activation_block<1>), sizeof(activation_block<2>),
                                            bf16_tile_numbers * bf16_kernels_.number_bytes};
    for (std::size_t form = 1; form < forms_count; ++form)
      if (takes[form][i])
        form_at[form][i] = place(blocks, sizes[form]);
  }
  const std::size_t angles_at = place(rows * 2 * program_.rope.size, sizeof(float));
  const std::size_t scratch_at = place(pool_.size() * attention_scratch(shape_), sizeof(float));
  const std::size_t unpacked_at = place(rounds ? pool_.size() : 0, bf16_scratch_bytes);
  auto memory = page_memory::allocate(bytes, 1, "the buffers of a step", false);
  if (!memory)
    return memory.error();
  workspace_ = std::move(*memory);
  for (std::size_t i = 0; i < buffer_count; ++i) {
    buffers_[i] = workspace_.as<float>(float_at[i]);
    one_byte_[i] = takes[1][i] ? workspace_.as<activation_block<1>>(form_at[1][i]) : nullptr;
    two_bytes_[i] = takes[2][i] ? workspace_.as<activation_block<2>>(form_at[2][i]) : nullptr;
    bfloats_[i] = takes[3][i] ? workspace_.as<std::byte>(form_at[3][i]) : nullptr;
  }
  angles_ = workspace_.as<float>(angles_at);
  scratch_ = workspace_.as<float>(scratch_at);
  unpacked_ = workspace_.as<std::byte>(unpacked_at);
  return {};
}

expected<void> threaded_backend::forward(const forward_batch& batch, std::span<float> logits) {
  if (auto met = meet_group(); !met)
    return met;
  prepare(batch, logits);
  pool_.run([this](unsigned thread) { run_steps(thread); });
  if (failure_)
    return tl::unexpected(*failure_);
  std::copy_n(row_of(buffer::normed, batch.logit_rows.size()), batch.hidden.size(), batch.hidden.data());
  return {};
}

expected<void> threaded_backend::exchange(std::span<const std::byte> mine, std::span<std::byte> all) {
  return logit_parts_.shared() ? options_.group->all_gather(mine, all, deadline()) : backend::exchange(mine, all);
}

std::span<const float> threaded_backend::largest_logits() const {
  return std::span(largest_logits_).first(logit_rows_ * sampling::blocks_of(program_.vocabulary));
}

void threaded_backend::for_each(std::uint32_t count, const std::function<void(std::uint32_t, unsigned)>& body) {
  if (count < 2)
    return backend::for_each(count, body);
  std::atomic<std::uint32_t> next{0};
  pool_.run([&](unsigned thread) {
    for (std::uint32_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < count;)
      body(index, thread);
  });
}

void threaded_backend::prepare(const forward_batch& batch, std::span<float> logits) {
  assert(batch.tokens.size() <= options_.max_rows && batch.logit_rows.size() <= options_.max_logit_rows);
  assert(logits.size() == batch.logit_rows.size() * program_.vocabulary);
  assert(fits_stage(batch, program_));
  batch_ = &batch;
  logit_rows_ = batch.logit_rows.size();
  buffers_[static_cast<std::size_t>(buffer::logits)] = logits.data();
  positions_.clear();
  blocks_.clear();
  attention_.clear();
  for (const auto& span : batch.spans) {
    for (std::uint32_t i = 0; i < span.rows; ++i) {
      const std::uint32_t position = span.first_position + i;
      assert(span.blocks[position / tokens_per_block] < options_.kv_blocks);
      positions_.push_back(position);
      blocks_.push_back(span.blocks[position / tokens_per_block]);
    }
    for (std::uint32_t i = 0; i < span.rows; i += attention_rows_)
      attention_.push_back({&span, i, std::min(attention_rows_, span.rows - i)});
  }
  assert(positions_.size() == batch.tokens.size());
  // The longest first, so that no thread is left alone with a long one at the end.
  std::ranges::stable_sort(attention_, std::greater{},
                           [](const attention_rows& a) { return a.span->first_position + a.offset; });
  prepare_attention();
  for (auto& counter : counters_)
    counter.next.store(0, std::memory_order_relaxed);
}

void threaded_backend::run_steps(unsigned thread) {
  auto rows = static_cast<std::uint32_t>(batch_->tokens.size());
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto& step = steps_[i];
    switch (step.kind) {
    case step_kind::rows:
      run_rows(step, counters_[i], rows);
      break;
    case step_kind::product:
      if (step.products.front().op.output == buffer::logits)
        rows = static_cast<std::uint32_t>(batch_->logit_rows.size());
      if (rows == 0)
        return;
      run_products(step, products_[i % 2], rows, thread);
      break;
    case step_kind::attention:
      run_attention(step, counters_[i], thread);
      break;
    case step_kind::take_rows:
      rows = static_cast<std::uint32_t>(batch_->logit_rows.size() + batch_->hidden_rows.size());
      if (rows == 0)
        return;
      if (thread == 0)
        take_rows(step.op);
      break;
    case step_kind::all_reduce:
    case step_kind::all_gather:
      if (thread == 0)
        if (auto done = step.kind == step_kind::all_reduce ? all_reduce(step.op, rows) : all_gather(rows); !done)
          failure_ = done.error();
      break;
    }
    pool_.barrier();
    products_[i % 2].reset(thread);
    // Only here: after other steps thread 0 may be writing it already.
    if ((step.kind == step_kind::all_reduce || step.kind == step_kind::all_gather) && failure_)
      return;
  }
}

void threaded_backend::run_rows(const step& what, work_counter& work, std::uint32_t rows) {
  // A tile's rows share cache lines: a thread that takes them together waits less for others.
  const std::uint32_t grain = std::clamp((rows + pool_.size() - 1) / pool_.size(), 1u, tile_rows);
  for (;;) {
    const std::uint32_t first = work.next.fetch_add(grain, std::memory_order_relaxed);
    if (first >= rows)
      return;
    for (std::uint32_t row = first; row < std::min(rows, first + grain); ++row)
      for (const auto& operation : what.row_operations)
        run_row_operation(operation, row);
  }
}

void threaded_backend::run_row_operation(const row_operation& what, std::uint32_t row) {
  const auto& op = what.op;
  const std::size_t width = program_.width_of(op.output);
  if (what.form != activation_form::floats)
    return convert(op.input, row, 0, program_.width_of(op.input), what.form);
  switch (op.kind) {
  case op_kind::embed:
    make_angles(row);
    return embed(op, row);
  case op_kind::take_hidden:
    make_angles(row);
    std::copy_n(batch_->input.data() + row * width, width, row_of(op.output, row));
    return;
  case op_kind::give_hidden:
    if (!batch_->output.empty())
      std::copy_n(row_of(op.input, row), program_.width, batch_->output.data() + row * program_.width);
    return;
  case op_kind::rms_norm:
    return kernels_.rms_norm(row_of(op.input, row), what.weight, width, program_.rms_epsilon, row_of(op.output, row));
  case op_kind::rope:
    return rope(op, row);
  case op_kind::store_kv:
    return store_kv(op, row);
  case op_kind::swiglu:
    return kernels_.swiglu(row_of(op.input, row), row_of(op.input2, row), width, row_of(op.output, row));
  case op_kind::add:
    return kernels_.add(row_of(op.input, row), width, row_of(op.output, row));
  case op_kind::matmul:
  case op_kind::attention:
  case op_kind::take_rows:
  case op_kind::all_reduce:
  case op_kind::all_gather:
    break;
  }
  assert(false);
}

share threaded_backend::panels_of(const product& what, unsigned thread) const {
  const std::uint32_t panels = what.matrix->panels(), unit = panels_together(what);
  const share units = share_of((panels + unit - 1) / unit, thread, pool_.size());
  return {units.begin * unit, std::min(units.end * unit, panels)};
}

void threaded_backend::run_products(const step& what, work_shares& work, std::uint32_t rows, unsigned thread) {
  std::uint32_t panels = 0;
  for (const auto& product : what.products)
    panels += product.matrix->panels();
  const std::uint32_t unit = panels_together(what.products.front());
  const std::uint32_t grain = (std::max(1u, panels / (pool_.size() * 8)) + unit - 1) / unit * unit;
  const auto size_of = [&](unsigned owner) {
    std::uint32_t size = 0;
    for (const auto& product : what.products)
      size += panels_of(product, owner).size();
    return size;
  };
  while (const auto piece = work.take(thread, grain, size_of)) {
    auto [owner, first, end] = *piece;
    for (const auto& product : what.products) {
      const share own = panels_of(product, owner);
      if (first < own.size() && first < end)
        run_product(product, own.begin + first, std::min(own.end, own.begin + end), rows, thread);
      first -= std::min(first, own.size());
      end -= std::min(end, own.size());
    }
  }
}

void threaded_backend::run_product(const product& what, std::uint32_t first_panel, std::uint32_t end_panel,
                                   std::uint32_t rows, unsigned thread) {
  if (what.form == activation_form::bfloats)
    return run_bf16_product(what, first_panel, end_panel, rows, thread);
  const auto& op = what.op;
  const auto& matrix = *what.matrix;
  const std::size_t width = program_.width_of(op.output), columns = program_.width_of(op.input);
  // Activations of a tile stay in the first cache while the weights of these panels pass, which lie in the second.
  for (std::uint32_t row = 0; row < rows; row += tile_rows) {
    const std::uint32_t count = std::min(rows - row, tile_rows);
    for (std::uint32_t p = first_panel; p < end_panel; ++p) {
      const std::uint32_t n = p * panel_columns;
      const product_target target{.out = output_of(op, row) + n,
                                  .stride = width,
                                  .outputs = std::min<std::uint32_t>(panel_columns, matrix.rows() - n),
                                  .bias = what.bias ? what.bias + n : nullptr,
                                  .accumulate = what.accumulate};
      if (what.form == activation_form::one_byte)
        kernels_.matmul_one_byte(matrix.view(p), tile_of<1>(op.input, row), count, target);
      else if (what.form == activation_form::two_bytes)
        kernels_.matmul_two_bytes(matrix.view(p), tile_of<2>(op.input, row), count, target);
      else
        kernels_.matmul_float(matrix.view(p), row_of(op.input, row), columns, count, target);
    }
    if (op.output == buffer::logits)
      scan_logits(row, count, first_panel, end_panel);
  }
}

void threaded_backend::scan_logits(std::uint32_t first_row, std::uint32_t rows, std::uint32_t first_panel,
                                   std::uint32_t end_panel) {
  const auto& own = logit_parts_.own();
  const std::size_t from = own.begin + first_panel * panel_columns,
                    end = std::min<std::size_t>(own.begin + end_panel * panel_columns, own.end);
  const std::size_t blocks = sampling::blocks_of(program_.vocabulary), block = from / sampling::block_tokens;
  for (std::uint32_t row = first_row; row < first_row + rows; ++row)
    sampling_.scan(row_of(buffer::logits, row) + from, end - from, &largest_logits_[row * blocks + block]);
}

/// All rows at once, so that weights are unpacked for many of them.
void threaded_backend::run_bf16_product(const product& what, std::uint32_t first_panel, std::uint32_t end_panel,
                                        std::uint32_t rows, unsigned thread) {
  const auto& matrix = *what.matrix;
  panel weights[bf16_panels];
  for (std::uint32_t p = first_panel; p < end_panel; p += bf16_panels) {
    const std::uint32_t count = std::min(end_panel - p, bf16_panels), n = p * panel_columns;
    for (std::uint32_t i = 0; i < count; ++i)
      weights[i] = matrix.view(p + i);
    bf16_kernels_.matmul(weights, count, bfloat_tile_of(what.op.input, 0), rows,
                         {.out = output_of(what.op, 0) + n,
                          .stride = program_.width_of(what.op.output),
                          .outputs = std::min(count * panel_columns, matrix.rows() - n),
                          .bias = what.bias ? what.bias + n : nullptr,
                          .accumulate = what.accumulate},
                         unpacked_ + thread * bf16_scratch_bytes);
  }
  if (what.op.output == buffer::logits)
    scan_logits(0, rows, first_panel, end_panel);
}

void threaded_backend::convert(buffer which, std::uint32_t row, std::size_t column, std::size_t width,
                               activation_form form) {
  const float* x = row_of(which, row) + column;
  const std::size_t block = column / block_columns;
  if (form == activation_form::one_byte)
    kernels_.quantise_one_byte(x, width, tile_of<1>(which, row) + block, row % tile_rows);
  else if (form == activation_form::two_bytes)
    kernels_.quantise_two_bytes(x, width, tile_of<2>(which, row) + block, row % tile_rows);
  else
    bf16_kernels_.round(x, width, bfloat_tile_of(which, row) + block * bf16_tile_numbers * bf16_kernels_.number_bytes,
                        row % tile_rows);
}

void threaded_backend::take_rows(const operation& op) {
  std::size_t kept = 0;
  for (const auto rows : {batch_->logit_rows, batch_->hidden_rows})
    for (const auto row : rows) {
      for (buffer which : {op.input, op.input2})
        std::memmove(row_of(which, kept), row_of(which, row), program_.width_of(which) * sizeof(float));
      ++kept;
    }
}

/// The first time, when ranks may still load.
expected<void> threaded_backend::meet_group() {
  if (!options_.group || met_)
    return {};
  met_ = true;
  return options_.group->barrier(std::chrono::steady_clock::now() + options_.loading_timeout);
}

expected<void> threaded_backend::all_reduce(const operation& op, std::uint32_t rows) {
  const std::span<float> sum(row_of(op.output, 0), std::size_t{rows} * program_.width_of(op.output));
  return options_.group ? options_.group->all_reduce(sum, sum, deadline()) : expected<void>{};
}

expected<void> threaded_backend::all_gather(std::uint32_t rows) {
  if (!logit_parts_.shared())
    return {};
  const std::span<float> logits(row_of(buffer::logits, 0), std::size_t{rows} * program_.vocabulary);
  return logit_parts_.gather(logits, batch_->own_logits, *options_.group, deadline());
}

void threaded_backend::make_angles(std::uint32_t row) {
  const std::size_t pairs = frequencies_.frequencies.size();
  const bool interleaved = program_.rope.layout == rope_layout::interleaved;
  float* cos = angles_ + row * 2 * program_.rope.size;
  float* sin = cos + program_.rope.size;
  for (std::size_t i = 0; i < pairs; ++i) {
    const auto angle = sine_and_cosine(positions_[row] * frequencies_.frequencies[i]);
    const std::size_t first = interleaved ? 2 * i : i, second = interleaved ? first + 1 : first + pairs;
    cos[first] = cos[second] = static_cast<float>(angle.cosine * frequencies_.magnitude);
    sin[second] = static_cast<float>(angle.sine * frequencies_.magnitude);
    sin[first] = -sin[second];
  }
}

void threaded_backend::embed(const operation& op, std::uint32_t row) {
  const auto token = batch_->tokens[row];
  assert(token >= 0 && static_cast<std::uint32_t>(token) < program_.vocabulary);
  const auto* table = weights_.stored(op.weight);
  gguf::dequantise(table->type, table->row(static_cast<std::uint64_t>(token)),
                   {row_of(op.output, row), program_.width});
}

void threaded_backend::rope(const operation& op, std::uint32_t row) {
  const float* angles = angles_ + row * 2 * program_.rope.size;
  kernels_.rope(row_of(op.output, row), program_.width_of(op.output) / program_.head_size, program_.head_size,
                {.cos = angles,
                 .sin = angles + program_.rope.size,
                 .size = program_.rope.size,
                 .interleaved = program_.rope.layout == rope_layout::interleaved});
}

void threaded_backend::store_kv(const operation& op, std::uint32_t row) {
  for (std::uint32_t head = 0; head < program_.kv_heads; ++head)
    kernels_.store_kv(row_of(op.input, row) + head * program_.head_size,
                      row_of(op.input2, row) + head * program_.head_size, shape_, positions_[row] % tokens_per_block,
                      kv_of(op.layer, head) + blocks_[row] * block_stride_);
}

expected<void> threaded_backend::read_block(kv_group, block_id block, std::span<std::byte> to) const {
  assert(block < options_.kv_blocks && to.size() == block_bytes(0));
  std::memcpy(to.data(), contents_of(block), block_bytes(0));
  return {};
}

expected<void> threaded_backend::write_block(kv_group, block_id block, std::span<const std::byte> from) {
  assert(block < options_.kv_blocks && from.size() == block_bytes(0));
  std::memcpy(contents_of(block), from.data(), block_bytes(0));
  return {};
}

expected<void> threaded_backend::copy_block(kv_group, block_id from, block_id to) {
  assert(from < options_.kv_blocks && to < options_.kv_blocks && from != to);
  std::memcpy(contents_of(to), contents_of(from), block_bytes(0));
  return {};
}

} // namespace troupe::cpu

namespace troupe {

std::uint64_t cpu_kv_block_bytes(const model_program& program, kv_cache_dtype dtype) {
  return std::uint64_t{program.layers} * program.kv_heads * cpu::shape_of(program, dtype).bytes();
}

expected<std::unique_ptr<backend>> make_cpu_backend(std::shared_ptr<const gguf::file> file,
                                                    const model_program& program, const backend_options& options) {
  if (auto failure = check_group(program, options, 1))
    return tl::unexpected(*failure);
  const auto instructions = cpu::chosen_instruction_set();
  if (!instructions)
    return tl::unexpected(instructions.error());
  try {
    auto made = std::make_unique<cpu::threaded_backend>(program, options, *instructions);
    if (auto failure = made->load(std::move(file)))
      return tl::unexpected(*failure);
    return made;
  } catch (const std::system_error& failure) {
    return fail(errc::unavailable, fmt::format("The system gives no threads to compute with: {}.", failure.what()));
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "There is no memory for the model's small vectors.");
  }
}

} // namespace troupe
