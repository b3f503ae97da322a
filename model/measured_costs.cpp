#include "model/measured_costs.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

namespace troupe {

namespace {

constexpr std::size_t most_head_bytes = std::size_t{32}
                                        << 20; ///< Of the logits' weights: enough to outweigh a cache.
constexpr std::size_t repetitions = 9;
constexpr std::size_t head_operations = 2; ///< The last ones of a whole program: the final norm and the logits.

double bytes_of(const gguf::file& file, const operation& op) {
  const auto* tensor = op.weight.empty() ? nullptr : file.find_tensor(op.weight);
  return tensor ? static_cast<double>(tensor->data.size()) : 0.0;
}

/// What a token reads of each layer's weights.
std::vector<double> bytes_of_layers(const gguf::file& file, const model_program& whole) {
  std::vector<double> out(whole.layers, 0.0);
  for (const auto& op : std::span(whole.operations).first(whole.operations.size() - head_operations))
    if (op.kind != op_kind::embed)
      out[op.layer] += bytes_of(file, op);
  return out;
}

/// Norm and logits alone, of as much of the vocabulary as is measured.
model_program head_of(const gguf::file& file, const model_program& whole) {
  model_program out = whole;
  out.layers = 1; // Of KV memory; nothing is stored in it.
  const auto norm = whole.operations.end() - head_operations;
  // Backends are more exact after take_rows, which costs.
  out.operations = {{.kind = op_kind::take_hidden, .output = buffer::hidden},
                    {.kind = op_kind::take_rows, .input = buffer::hidden, .input2 = buffer::attended},
                    norm[0],
                    norm[1]};
  for (auto& op : out.operations)
    op.layer = 0;
  const auto* logits = file.find_tensor(norm[1].weight);
  const auto row_bytes = std::max<std::size_t>(1, logits->data.size() / whole.vocabulary);
  constexpr std::uint32_t unit = 32;
  out.vocabulary = static_cast<std::uint32_t>(
    std::min<std::size_t>(whole.vocabulary, std::max<std::size_t>(unit, most_head_bytes / row_bytes / unit * unit)));
  out.operations.back().slice = {.first_row = 0, .rows = out.vocabulary};
  return out;
}

class measured_part {
public:
  measured_part(model_program program, std::unique_ptr<backend> device)
      : program_(std::move(program)), device_(std::move(device)), rows_(program_.width, 0.5f), given_(program_.width),
        logits_(program_.vocabulary) {}

  expected<void> once() {
    const std::array<token_id, 1> tokens{};
    const std::array<block_id, 1> blocks{};
    const std::array<std::uint32_t, 1> wanted{};
    const std::array<batch_span, 1> spans{{{0, 1, 0, blocks}}};
    forward_batch batch{tokens, spans, {}};
    if (program_.takes_hidden())
      batch.input = rows_;
    if (program_.gives_hidden())
      batch.output = given_;
    else
      batch.logit_rows = wanted;
    const auto begin = std::chrono::steady_clock::now();
    auto done = device_->forward(batch, std::span(logits_).first(batch.logit_rows.size() * program_.vocabulary));
    times_.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    return done;
  }

  double median() {
    times_.erase(times_.begin()); // It met cold memory.
    const auto middle = times_.begin() + static_cast<std::ptrdiff_t>(times_.size() / 2);
    std::nth_element(times_.begin(), middle, times_.end());
    return std::max(*middle, 1e-6);
  }

private:
  model_program program_;
  std::unique_ptr<backend> device_;
  std::vector<float> rows_, given_, logits_;
  std::vector<double> times_;
};

} // namespace

expected<layer_costs> measure_costs(const gguf::file& file, const model_program& whole, const part_maker& make) {
  layer_costs out;
  if (whole.layers == 1) { // There is nothing to choose.
    out.layers = {1.0};
    return out;
  }
  const auto head_program = head_of(file, whole);
  std::vector<measured_part> parts;
  for (const auto& program : {program_of_stage(whole, {0, 1}), head_program}) {
    auto device = make(program);
    if (!device)
      return tl::unexpected(device.error());
    parts.emplace_back(program, std::move(*device));
  }
  // In turns, so that each finds the other's weights in the nearest caches, as in a whole step.
  for (std::size_t i = 0; i <= repetitions; ++i)
    for (auto& part : parts)
      if (auto done = part.once(); !done)
        return tl::unexpected(done.error());
  const auto bytes = bytes_of_layers(file, whole);
  const double layer_ms = parts[0].median(), per_byte = layer_ms / std::max(bytes[0], 1.0);
  for (auto layer : bytes)
    out.layers.push_back(std::max(layer, 1.0) * per_byte);
  out.head = parts[1].median() * whole.vocabulary / head_program.vocabulary;
  const auto& embed = whole.operations.front();
  out.embed = bytes_of(file, embed) / whole.vocabulary * per_byte;
  return out;
}

layer_costs weigh_costs(const gguf::file& file, const model_program& whole) {
  layer_costs costs{.layers = bytes_of_layers(file, whole)};
  for (const auto& op : std::span(whole.operations).last(head_operations))
    costs.head += bytes_of(file, op);
  return costs;
}

} // namespace troupe
