// See backends.hpp. Every operation is written as its comment in model/architecture.hpp says, one after another; the
// work is cut by outputs or rows, each of which one thread computes alone, so the number of threads changes no bit.
#include <cassert>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "comm/shards.hpp"
#include "cpu/backends.hpp"
#include "model/logit_parts.hpp"
#include "cpu/page_memory.hpp"
#include "cpu/thread_pool.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"

namespace troupe {

namespace {

using cpu::page_memory;
using cpu::thread_pool;

/// Sixteen sums that lie 16 elements apart, then their sum in a fixed order: what a compiler can vectorise anywhere
/// without changing a bit.
float dot(const float* a, const float* b, std::size_t count) {
  float sums[16] = {};
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (std::size_t j = 0; j < 16; ++j)
      sums[j] += a[i + j] * b[i + j];
  for (; i < count; ++i)
    sums[i % 16] += a[i] * b[i];
  for (std::size_t half = 8; half > 0; half /= 2)
    for (std::size_t j = 0; j < half; ++j)
      sums[j] += sums[j + half];
  return sums[0];
}

/// How many logical shards this rank has, whose results are added up with those of the others.
unsigned partial_results(const model_program& program) {
  for (const auto& op : program.operations)
    if (!op.shard_columns.empty())
      return static_cast<unsigned>(op.shard_columns.size()) - 1;
  return 1;
}

struct range {
  std::size_t begin, end;
};

/// Part `index` of `parts` of [0, count).
range part_of(std::size_t count, unsigned index, unsigned parts) {
  return {count * index / parts, count * (index + 1) / parts};
}

class reference_backend final : public backend {
public:
  reference_backend(std::shared_ptr<const gguf::file> file, const model_program& program,
                    const backend_options& options)
      : file_(std::move(file)), program_(program), options_(options),
        pool_(options.threads ? options.threads : cpu::usable_cpus()), frequencies_(frequencies_of(program, *file_)) {
  }

  std::optional<error> load();

  std::string_view name() const override { return "reference"; }
  expected<void> forward(const forward_batch& batch, std::span<float> logits) override;
  vocabulary_share own_vocabulary() const override { return logit_parts_.own(); }
  expected<void> exchange(std::span<const std::byte> mine, std::span<std::byte> all) override {
    return logit_parts_.shared() ? options_.group->all_gather(mine, all, deadline()) : backend::exchange(mine, all);
  }
  memory_account memory() const override { return {weights_.size(), kv_.size(), workspace_.size()}; }
  std::string_view kv_type() const override { return "f32"; }
  std::size_t block_bytes(kv_group) const override { return program_.layers * layer_bytes(); }
  expected<void> read_block(kv_group, block_id block, std::span<std::byte> to) const override;
  expected<void> write_block(kv_group, block_id block, std::span<const std::byte> from) override;
  expected<void> copy_block(kv_group group, block_id from, block_id to) override;

private:
  struct row_place {
    std::uint32_t position;
    const block_id* blocks;
  };

  void run(const operation& op, unsigned thread);
  void embed(const operation& op, std::size_t row);
  void take_hidden(const operation& op, std::size_t row);
  void give_hidden(const operation& op, std::size_t row);
  void rms_norm(const operation& op, std::size_t row);
  void matmul(const operation& op, range outputs);
  void rope(const operation& op, std::size_t row);
  void store_kv(const operation& op, std::size_t row);
  void attention(const operation& op, std::size_t row, std::uint32_t head, std::span<float> scores);
  void swiglu(const operation& op, std::size_t row);
  void take_rows(const operation& op);
  expected<void> all_reduce(const operation& op);
  expected<void> all_gather();
  communicator::deadline deadline() const { return std::chrono::steady_clock::now() + options_.collective_timeout; }

  float* row_of(buffer which, std::size_t row) {
    return buffers_[static_cast<std::size_t>(which)] + row * program_.width_of(which);
  }
  /// The key (0) or value (1) of one position: [layer][block][position in the block][key or value][kv
  /// head][head_size].
  float* kv_of(const row_place& place, std::uint32_t position, std::uint32_t layer, std::size_t which) {
    const std::size_t width = program_.width_of(buffer::key);
    const std::size_t block = place.blocks[position / tokens_per_block];
    const std::size_t slot =
      (std::size_t{layer} * options_.kv_blocks + block) * tokens_per_block + position % tokens_per_block;
    return kv_.as<float>() + (slot * 2 + which) * width;
  }

  /// What one layer has of one block, which lies together.
  std::size_t layer_bytes() const {
    return std::size_t{tokens_per_block} * 2 * program_.width_of(buffer::key) * sizeof(float);
  }
  std::byte* part_of_block(block_id block, std::uint32_t layer) const {
    assert(block < options_.kv_blocks);
    return kv_.as<std::byte>((std::size_t{layer} * options_.kv_blocks + block) * layer_bytes());
  }

  const std::shared_ptr<const gguf::file> file_;
  const model_program program_;
  const backend_options options_;
  thread_pool pool_;
  const rope_frequencies frequencies_;
  std::vector<std::vector<float>> scores_; ///< Each thread's, for the longest sequence.
  page_memory weights_, kv_, workspace_;
  std::map<std::string, const float*, std::less<>> tensors_;
  float* buffers_[static_cast<std::size_t>(buffer::count)] = {};
  std::size_t rows_ = 0; ///< Of the buffers, at this point of the program.
  std::vector<row_place> places_;
  const forward_batch* batch_ = nullptr;
  // Where several ranks share the model.
  struct slice_of_weight {
    const gguf::tensor* tensor;
    weight_slice part;
  };
  std::vector<slice_of_weight> slices() const;
  std::vector<float> partial_; ///< [logical shards][rows][width]
  logit_parts logit_parts_{program_};
  bool met_ = false; ///< The other ranks, which may load longer.
  std::optional<error> failure_;
};

/// What this rank and stage needs of the tensors that its operations name.
std::vector<reference_backend::slice_of_weight> reference_backend::slices() const {
  std::map<std::string_view, weight_slice> cut;
  for (const auto& op : program_.operations)
    if (!op.weight.empty()) {
      cut[op.weight] = op.slice;
      if (!op.bias.empty())
        cut[op.bias] = {.first_column = op.slice.first_row, .columns = op.slice.rows};
    }
  std::vector<slice_of_weight> out;
  for (const auto& tensor : file_->tensors()) {
    const auto found = cut.find(tensor.name);
    if (found == cut.end())
      continue;
    auto part = found->second;
    if (part.rows == 0)
      part.rows = static_cast<std::uint32_t>(tensor.rows());
    if (part.columns == 0)
      part.columns = static_cast<std::uint32_t>(tensor.columns());
    out.push_back({&tensor, part});
  }
  return out;
}

std::optional<error> reference_backend::load() {
  std::size_t elements = 0;
  const auto parts = slices();
  for (const auto& [tensor, part] : parts)
    elements += (std::size_t{part.rows} * part.columns + 15) / 16 * 16;
  auto weights = page_memory::allocate(elements, sizeof(float), "the model's weights in float32", true);
  auto kv = page_memory::allocate(options_.kv_blocks, kv_block_bytes(program_, sizeof(float)), "the KV cache", false);
  std::size_t widths = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(buffer::logits); ++i)
    widths += program_.width_of(static_cast<buffer>(i));
  auto workspace = page_memory::allocate(options_.max_rows, widths * sizeof(float), "the buffers of a step", false);
  for (auto* part : {&weights, &kv, &workspace})
    if (!*part)
      return part->error();
  weights_ = std::move(*weights);
  kv_ = std::move(*kv);
  workspace_ = std::move(*workspace);
  const auto longest =
    std::min<std::size_t>(program_.context_length, std::size_t{options_.kv_blocks} * tokens_per_block);
  scores_.assign(pool_.size(), std::vector<float>(longest));
  float* at = workspace_.as<float>();
  for (std::size_t i = 0; i < static_cast<std::size_t>(buffer::logits); ++i) {
    buffers_[i] = at;
    at += std::size_t{program_.width_of(static_cast<buffer>(i))} * options_.max_rows;
  }
  at = weights_.as<float>();
  for (const auto& [tensor, part] : parts) {
    tensors_.emplace(tensor->name, at);
    at += (std::size_t{part.rows} * part.columns + 15) / 16 * 16;
  }
  pool_.run([&](unsigned thread) {
    std::vector<float> whole;
    for (const auto& [tensor, part] : parts) {
      const auto rows = part_of(part.rows, thread, pool_.size());
      auto* to = const_cast<float*>(tensors_.find(tensor->name)->second);
      whole.resize(tensor->columns());
      for (std::size_t r = rows.begin; r < rows.end; ++r) {
        gguf::dequantise(tensor->type, tensor->row(part.first_row + r), whole);
        std::copy_n(whole.begin() + part.first_column, part.columns, to + r * part.columns);
      }
    }
  });
  if (!program_.logit_cuts.empty())
    partial_.resize(std::size_t{partial_results(program_)} * options_.max_rows * program_.width);
  if (!program_.gives_hidden())
    logit_parts_.reserve(options_.max_logit_rows);
  file_->release_pages();
  return {};
}

expected<void> reference_backend::forward(const forward_batch& batch, std::span<float> logits) {
  assert(batch.tokens.size() <= options_.max_rows && batch.logit_rows.size() <= options_.max_logit_rows);
  assert(logits.size() == batch.logit_rows.size() * program_.vocabulary);
  assert(fits_stage(batch, program_));
  if (options_.group && !std::exchange(met_, true))
    if (auto met = options_.group->barrier(std::chrono::steady_clock::now() + options_.loading_timeout); !met)
      return met;
  batch_ = &batch;
  buffers_[static_cast<std::size_t>(buffer::logits)] = logits.data();
  rows_ = batch.tokens.size();
  places_.clear();
  for (const auto& span : batch.spans)
    for (std::uint32_t i = 0; i < span.rows; ++i)
      places_.push_back({span.first_position + i, span.blocks.data()});
  assert(places_.size() == rows_);
  pool_.run([&](unsigned thread) {
    for (const auto& op : program_.operations) {
      if (op.kind == op_kind::take_rows && batch.logit_rows.empty() && batch.hidden_rows.empty())
        return;
      run(op, thread);
      pool_.barrier();
      // Only here: after other operations thread 0 may be writing it already.
      if ((op.kind == op_kind::all_reduce || op.kind == op_kind::all_gather) && failure_)
        return;
    }
  });
  if (failure_)
    return tl::unexpected(*failure_);
  std::copy_n(row_of(buffer::normed, batch.logit_rows.size()), batch.hidden.size(), batch.hidden.data());
  return {};
}

void reference_backend::run(const operation& op, unsigned thread) {
  const unsigned threads = pool_.size();
  if (op.kind == op_kind::take_rows) {
    if (thread == 0)
      take_rows(op);
    return;
  }
  if (op.kind == op_kind::all_reduce || op.kind == op_kind::all_gather) {
    if (thread != 0)
      return;
    if (auto done = op.kind == op_kind::all_reduce ? all_reduce(op) : all_gather(); !done)
      failure_ = done.error();
    return;
  }
  const auto& own = logit_parts_.own();
  if (op.kind == op_kind::matmul)
    return matmul(
      op, part_of(op.output == buffer::logits ? own.end - own.begin : program_.width_of(op.output), thread, threads));
  if (op.kind == op_kind::attention) {
    auto& scores = scores_[thread];
    for (std::size_t row = 0; row < rows_; ++row)
      for (std::uint32_t head = 0; head < program_.heads; ++head)
        if ((row * program_.heads + head) % threads == thread)
          attention(op, row, head, scores);
    return;
  }
  const auto rows = part_of(rows_, thread, threads);
  for (std::size_t row = rows.begin; row < rows.end; ++row)
    switch (op.kind) {
    case op_kind::embed:
      embed(op, row);
      break;
    case op_kind::take_hidden:
      take_hidden(op, row);
      break;
    case op_kind::give_hidden:
      give_hidden(op, row);
      break;
    case op_kind::rms_norm:
      rms_norm(op, row);
      break;
    case op_kind::rope:
      rope(op, row);
      break;
    case op_kind::store_kv:
      store_kv(op, row);
      break;
    case op_kind::swiglu:
      swiglu(op, row);
      break;
    case op_kind::add:
      for (std::size_t i = 0; i < program_.width_of(op.output); ++i)
        row_of(op.output, row)[i] += row_of(op.input, row)[i];
      break;
    case op_kind::matmul:
    case op_kind::attention:
    case op_kind::take_rows:
    case op_kind::all_reduce:
    case op_kind::all_gather:
      break;
    }
}

void reference_backend::embed(const operation& op, std::size_t row) {
  const auto token = static_cast<std::size_t>(batch_->tokens[row]);
  assert(token < program_.vocabulary);
  const float* table = tensors_.find(op.weight)->second;
  if (op.slice.rows == 0) {
    std::memcpy(row_of(op.output, row), table + token * program_.width, program_.width * sizeof(float));
    return;
  }
  // One rank has the token; what its other shards and all other ranks bring to the sum is 0.
  const bool mine = token >= op.slice.first_row && token - op.slice.first_row < op.slice.rows;
  const std::size_t shards = partial_results(program_);
  for (std::size_t s = 0; s < shards; ++s) {
    float* to = partial_.data() + (s * rows_ + row) * program_.width;
    if (mine && s == 0)
      std::memcpy(to, table + (token - op.slice.first_row) * program_.width, program_.width * sizeof(float));
    else
      std::fill_n(to, program_.width, 0.0f);
  }
}

void reference_backend::take_hidden(const operation& op, std::size_t row) {
  std::copy_n(batch_->input.data() + row * program_.width, program_.width, row_of(op.output, row));
}

void reference_backend::give_hidden(const operation& op, std::size_t row) {
  if (!batch_->output.empty())
    std::copy_n(row_of(op.input, row), program_.width, batch_->output.data() + row * program_.width);
}

void reference_backend::rms_norm(const operation& op, std::size_t row) {
  const std::size_t width = program_.width_of(op.input);
  const float* x = row_of(op.input, row);
  const float* weight = tensors_.find(op.weight)->second;
  float* out = row_of(op.output, row);
  const float factor = 1 / std::sqrt(dot(x, x, width) / static_cast<float>(width) + program_.rms_epsilon);
  for (std::size_t i = 0; i < width; ++i)
    out[i] = x[i] * factor * weight[i];
}

void reference_backend::matmul(const operation& op, range outputs) {
  const std::size_t columns = program_.width_of(op.input);
  const float* weight = tensors_.find(op.weight)->second;
  const float* bias = op.bias.empty() ? nullptr : tensors_.find(op.bias)->second;
  const std::size_t width = program_.width_of(op.output);
  const std::vector<std::uint32_t> whole{0, static_cast<std::uint32_t>(columns)};
  const auto& cuts = op.shard_columns.empty() ? whole : op.shard_columns;
  float* out = op.shard_columns.empty() ? row_of(op.output, 0) : partial_.data();
  if (op.output == buffer::logits)
    out += logit_parts_.own().begin;
  constexpr std::size_t rows_at_once = 32; // Their inputs stay in the cache while the weights pass.
  const auto rows = op.output == buffer::logits ? batch_->logit_rows.size() : rows_;
  for (std::size_t first = 0; first < rows; first += rows_at_once)
    for (std::size_t n = outputs.begin; n < outputs.end; ++n)
      for (std::size_t row = first; row < std::min(rows, first + rows_at_once); ++row)
        for (std::size_t s = 0; s + 1 < cuts.size(); ++s)
          out[(s * rows_ + row) * width + n] =
            dot(row_of(op.input, row) + cuts[s], weight + n * columns + cuts[s], cuts[s + 1] - cuts[s]) +
            (bias && s == 0 ? bias[n] : 0);
}

expected<void> reference_backend::all_reduce(const operation& op) {
  const std::size_t count = rows_ * program_.width;
  const std::size_t shards = partial_results(program_);
  const std::span<float> sum(row_of(op.output, 0), count);
  if (options_.group)
    return options_.group->all_reduce(std::span<const float>(partial_).first(shards * count), sum, deadline());
  std::vector<const float*> parts;
  for (std::size_t s = 0; s < shards; ++s)
    parts.push_back(partial_.data() + s * count);
  add_in_order(parts, sum);
  return {};
}

expected<void> reference_backend::all_gather() {
  if (!logit_parts_.shared())
    return {};
  const std::span<float> logits(row_of(buffer::logits, 0), batch_->logit_rows.size() * program_.vocabulary);
  return logit_parts_.gather(logits, batch_->own_logits, *options_.group, deadline());
}

void reference_backend::rope(const operation& op, std::size_t row) {
  const auto& rope = program_.rope;
  const std::size_t step = rope.layout == rope_layout::interleaved ? 2 : 1;
  const std::size_t partner = rope.layout == rope_layout::interleaved ? 1 : rope.size / 2;
  const std::size_t heads = program_.width_of(op.output) / program_.head_size;
  for (std::size_t i = 0; i < frequencies_.frequencies.size(); ++i) {
    const double angle = places_[row].position * frequencies_.frequencies[i];
    const auto cosine = static_cast<float>(std::cos(angle) * frequencies_.magnitude);
    const auto sine = static_cast<float>(std::sin(angle) * frequencies_.magnitude);
    for (std::size_t head = 0; head < heads; ++head) {
      float* pair = row_of(op.output, row) + head * program_.head_size + i * step;
      const float a = pair[0], b = pair[partner];
      pair[0] = a * cosine - b * sine;
      pair[partner] = a * sine + b * cosine;
    }
  }
}

void reference_backend::store_kv(const operation& op, std::size_t row) {
  const std::size_t bytes = program_.width_of(op.input) * sizeof(float);
  const auto& place = places_[row];
  std::memcpy(kv_of(place, place.position, op.layer, 0), row_of(op.input, row), bytes);
  std::memcpy(kv_of(place, place.position, op.layer, 1), row_of(op.input2, row), bytes);
}

void reference_backend::attention(const operation& op, std::size_t row, std::uint32_t head, std::span<float> scores) {
  const std::size_t size = program_.head_size;
  const std::size_t kv_head = head / (program_.heads / program_.kv_heads);
  const auto& place = places_[row];
  const float* query = row_of(op.input, row) + head * size;
  float* out = row_of(op.output, row) + head * size;
  scores = scores.first(place.position + 1);
  float largest = -INFINITY;
  for (std::uint32_t p = 0; p <= place.position; ++p) {
    scores[p] = dot(query, kv_of(place, p, op.layer, 0) + kv_head * size, size) * program_.attention_scale;
    largest = std::max(largest, scores[p]);
  }
  float total = 0;
  for (float& score : scores) {
    score = std::exp(score - largest);
    total += score;
  }
  std::fill_n(out, size, 0.0f);
  for (std::uint32_t p = 0; p <= place.position; ++p) {
    const float* value = kv_of(place, p, op.layer, 1) + kv_head * size;
    for (std::size_t i = 0; i < size; ++i)
      out[i] += scores[p] * value[i];
  }
  for (std::size_t i = 0; i < size; ++i)
    out[i] /= total;
}

void reference_backend::swiglu(const operation& op, std::size_t row) {
  const float* gate = row_of(op.input, row);
  const float* up = row_of(op.input2, row);
  float* out = row_of(op.output, row);
  for (std::size_t i = 0; i < program_.width_of(op.output); ++i)
    out[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

void reference_backend::take_rows(const operation& op) {
  rows_ = 0;
  for (const auto rows : {batch_->logit_rows, batch_->hidden_rows})
    for (const auto row : rows) {
      for (buffer which : {op.input, op.input2})
        std::memmove(row_of(which, rows_), row_of(which, row), program_.width_of(which) * sizeof(float));
      ++rows_;
    }
}

expected<void> reference_backend::read_block(kv_group, block_id block, std::span<std::byte> to) const {
  assert(to.size() == block_bytes(0));
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    std::memcpy(to.data() + layer * layer_bytes(), part_of_block(block, layer), layer_bytes());
  return {};
}

expected<void> reference_backend::write_block(kv_group, block_id block, std::span<const std::byte> from) {
  assert(from.size() == block_bytes(0));
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    std::memcpy(part_of_block(block, layer), from.data() + layer * layer_bytes(), layer_bytes());
  return {};
}

expected<void> reference_backend::copy_block(kv_group, block_id from, block_id to) {
  assert(from != to);
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    std::memcpy(part_of_block(to, layer), part_of_block(from, layer), layer_bytes());
  return {};
}

} // namespace

expected<std::unique_ptr<backend>> make_reference_backend(std::shared_ptr<const gguf::file> file,
                                                          const model_program& program,
                                                          const backend_options& options) {
  if (options.kv_dtype != kv_cache_dtype::bf16) // The default, which everyone passes who does not care.
    return fail(errc::unsupported,
                fmt::format("The reference backend keeps keys and values in float32; kv-cache-dtype {} is for the "
                            "cpu backend.",
                            to_string(options.kv_dtype)));
  if (auto failure = check_group(program, options, partial_results(program)))
    return tl::unexpected(*failure);
  if (options.arithmetic != cpu_arithmetic::int8)
    return fail(errc::unsupported, "The reference backend computes in float32 and has no other arithmetic.");
  try {
    auto made = std::make_unique<reference_backend>(std::move(file), program, options);
    if (auto failure = made->load())
      return tl::unexpected(*failure);
    return made;
  } catch (const std::system_error& failure) {
    return fail(errc::unavailable, fmt::format("The system gives no threads to compute with: {}.", failure.what()));
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "There is no memory for the buffers of the reference backend.");
  }
}

} // namespace troupe
