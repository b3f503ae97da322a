// See backends.hpp. Every operation is written as its comment in model/architecture.hpp says, one after another; the
// work is cut by outputs or rows, each of which one thread computes alone, so the number of threads changes no bit.
#include <cassert>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "cpu/backends.hpp"
#include "cpu/page_memory.hpp"
#include "cpu/thread_pool.hpp"

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
  void forward(const forward_batch& batch, std::span<float> logits) override;
  memory_account memory() const override { return {weights_.size(), kv_.size(), workspace_.size()}; }
  std::string_view kv_type() const override { return "f32"; }
  std::size_t block_bytes(kv_group) const override { return program_.layers * layer_bytes(); }
  void read_block(kv_group, block_id block, std::span<std::byte> to) const override;
  void write_block(kv_group, block_id block, std::span<const std::byte> from) override;
  void copy_block(kv_group group, block_id from, block_id to) override;

private:
  struct row_place {
    std::uint32_t position;
    const block_id* blocks;
  };

  void run(const operation& op, unsigned thread);
  void embed(const operation& op, std::size_t row);
  void rms_norm(const operation& op, std::size_t row);
  void matmul(const operation& op, range outputs);
  void rope(const operation& op, std::size_t row);
  void store_kv(const operation& op, std::size_t row);
  void attention(const operation& op, std::size_t row, std::uint32_t head, std::span<float> scores);
  void swiglu(const operation& op, std::size_t row);
  void take_rows(const operation& op);

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
};

std::optional<error> reference_backend::load() {
  std::size_t elements = 0;
  for (const auto& tensor : file_->tensors())
    elements += (tensor.elements() + 15) / 16 * 16;
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
  for (const auto& tensor : file_->tensors()) {
    tensors_.emplace(tensor.name, at);
    at += (tensor.elements() + 15) / 16 * 16;
  }
  pool_.run([&](unsigned thread) {
    for (const auto& tensor : file_->tensors()) {
      const auto rows = part_of(tensor.rows(), thread, pool_.size());
      auto* to = const_cast<float*>(tensors_.find(tensor.name)->second);
      for (std::size_t r = rows.begin; r < rows.end; ++r)
        gguf::dequantise(tensor.type, tensor.row(r), {to + r * tensor.columns(), tensor.columns()});
    }
  });
  file_->release_pages();
  return {};
}

void reference_backend::forward(const forward_batch& batch, std::span<float> logits) {
  assert(batch.tokens.size() <= options_.max_rows && batch.logit_rows.size() <= options_.max_logit_rows);
  assert(logits.size() == batch.logit_rows.size() * program_.vocabulary);
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
      if (op.kind == op_kind::take_rows && batch.logit_rows.empty())
        return;
      run(op, thread);
      pool_.barrier();
    }
  });
}

void reference_backend::run(const operation& op, unsigned thread) {
  const unsigned threads = pool_.size();
  if (op.kind == op_kind::take_rows) {
    if (thread == 0)
      take_rows(op);
    return;
  }
  if (op.kind == op_kind::matmul)
    return matmul(op, part_of(program_.width_of(op.output), thread, threads));
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
      break;
    }
}

void reference_backend::embed(const operation& op, std::size_t row) {
  const auto token = static_cast<std::size_t>(batch_->tokens[row]);
  assert(token < program_.vocabulary);
  std::memcpy(row_of(op.output, row), tensors_.find(op.weight)->second + token * program_.width,
              program_.width * sizeof(float));
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
  const std::size_t columns = program_.width_of(op.input), width = program_.width_of(op.output);
  const float* weight = tensors_.find(op.weight)->second;
  const float* bias = op.bias.empty() ? nullptr : tensors_.find(op.bias)->second;
  constexpr std::size_t rows_at_once = 32; // Their inputs stay in the cache while the weights pass.
  for (std::size_t first = 0; first < rows_; first += rows_at_once)
    for (std::size_t n = outputs.begin; n < outputs.end; ++n)
      for (std::size_t row = first; row < std::min(rows_, first + rows_at_once); ++row)
        row_of(op.output, 0)[row * width + n] =
          dot(row_of(op.input, row), weight + n * columns, columns) + (bias ? bias[n] : 0);
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
  for (std::size_t i = 0; i < batch_->logit_rows.size(); ++i)
    for (buffer which : {op.input, op.input2})
      std::memmove(row_of(which, i), row_of(which, batch_->logit_rows[i]), program_.width_of(which) * sizeof(float));
  rows_ = batch_->logit_rows.size();
}

void reference_backend::read_block(kv_group, block_id block, std::span<std::byte> to) const {
  assert(to.size() == block_bytes(0));
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    std::memcpy(to.data() + layer * layer_bytes(), part_of_block(block, layer), layer_bytes());
}

void reference_backend::write_block(kv_group, block_id block, std::span<const std::byte> from) {
  assert(from.size() == block_bytes(0));
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    std::memcpy(part_of_block(block, layer), from.data() + layer * layer_bytes(), layer_bytes());
}

void reference_backend::copy_block(kv_group, block_id from, block_id to) {
  assert(from != to);
  for (std::uint32_t layer = 0; layer < program_.layers; ++layer)
    std::memcpy(part_of_block(to, layer), part_of_block(from, layer), layer_bytes());
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
