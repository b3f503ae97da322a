#include "model/architecture.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "model/backend.hpp"

namespace troupe {

namespace {

// Limits that keep every product of two hyperparameters within 64 bits, and every buffer within reason.
constexpr std::uint32_t max_layers = 4096;
constexpr std::uint32_t max_width = 1u << 18;
constexpr std::uint32_t max_heads = 4096;
constexpr std::uint32_t max_head_size = 1024;
constexpr std::uint32_t max_vocabulary = 1u << 24;
constexpr std::uint32_t max_context = 1u << 28;

struct family {
  std::string_view name; ///< `general.architecture`
  rope_layout layout;
  bool biases; ///< Takes biases of the linear layers where the file has them.
};

/// The families that are known; adding one that needs nothing new is a line here.
constexpr family families[] = {
  {"llama", rope_layout::interleaved, true},
};

/// Keys below "<architecture>." that are read here, or that only inform. Any other would be ignored, so it is
/// refused.
constexpr std::string_view known_keys[] = {
  "block_count",
  "context_length",
  "embedding_length",
  "feed_forward_length",
  "vocab_size",
  "tensor_data_layout",
  "attention.head_count",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
  "attention.layer_norm_rms_epsilon",
  "attention.causal",
  "expert_count",
  "expert_used_count",
  "use_parallel_residual",
  "rope.dimension_count",
  "rope.freq_base",
  "rope.scale_linear",
  "rope.scaling.type",
  "rope.scaling.factor",
  "rope.scaling.original_context_length",
  "rope.scaling.finetuned",
  "rope.scaling.attn_factor",
  "rope.scaling.yarn_attn_factor",
  "rope.scaling.yarn_beta_fast",
  "rope.scaling.yarn_beta_slow",
};

/// Reads a family's keys; the first error stays, and what follows it is harmless.
class key_reader {
public:
  key_reader(const gguf::file& file, std::string_view architecture) : file_(file), prefix_(architecture) {
    prefix_ += '.';
  }

  template <class T>
  T get(std::string_view key, std::optional<T> fallback = {}) {
    if (failure_)
      return fallback.value_or(T{});
    auto value =
      fallback ? file_.get_or<T>(prefix_ + std::string(key), *fallback) : file_.get<T>(prefix_ + std::string(key));
    if (value)
      return *value;
    failure_ = value.error();
    return fallback.value_or(T{});
  }

  std::uint32_t count(std::string_view key, std::uint32_t limit, std::optional<std::uint32_t> fallback = {}) {
    const auto value = get<std::uint32_t>(key, fallback);
    if (value == 0 || value > limit)
      refuse(errc::malformed, key, fmt::format("is {}; it must be from 1 to {}", value, limit));
    return value;
  }

  float positive(std::string_view key, std::optional<float> fallback = {}) {
    const auto value = get<float>(key, fallback);
    if (!(value > 0) || !std::isfinite(value))
      refuse(errc::malformed, key, "must be a positive number");
    return value;
  }

  /// For features that are not there: the key may be absent or say so.
  template <class T>
  void only(std::string_view key, T wanted) {
    if (get<T>(key, wanted) != wanted)
      refuse(errc::unsupported, key, "asks for a feature that this version does not have");
  }

  bool has(std::string_view key) const { return file_.has(prefix_ + std::string(key)); }

  void refuse(errc code, std::string_view key, std::string_view why) {
    if (!failure_)
      failure_ = error{code, fmt::format("The model's metadata key \"{}{}\" {}.", prefix_, key, why)};
  }

  const std::optional<error>& failure() const { return failure_; }

private:
  const gguf::file& file_;
  std::string prefix_;
  std::optional<error> failure_;
};

void read_sizes(key_reader& keys, model_program& out) {
  out.layers = keys.count("block_count", max_layers);
  out.width = keys.count("embedding_length", max_width);
  out.heads = keys.count("attention.head_count", max_heads);
  out.kv_heads = keys.count("attention.head_count_kv", max_heads, out.heads);
  out.feed_forward = keys.count("feed_forward_length", max_width);
  out.context_length = keys.count("context_length", max_context);
  out.rms_epsilon = keys.positive("attention.layer_norm_rms_epsilon");
  if (keys.failure())
    return;
  if (out.heads % out.kv_heads != 0)
    keys.refuse(errc::malformed, "attention.head_count_kv", "does not divide attention.head_count");
  if (!keys.has("attention.key_length") && out.width % out.heads != 0)
    keys.refuse(errc::malformed, "attention.head_count",
                "does not divide embedding_length, and there is no attention.key_length");
  out.head_size = keys.count("attention.key_length", max_head_size, std::max(1u, out.width / out.heads));
  keys.only("attention.value_length", out.head_size);
  if (out.head_size * out.heads > max_width)
    keys.refuse(errc::limit_exceeded, "attention.head_count",
                fmt::format("times the head size is over {}", max_width));
  out.attention_scale = 1.0f / std::sqrt(static_cast<float>(out.head_size));
  keys.only("attention.causal", true);
  keys.only("use_parallel_residual", false);
  keys.only<std::uint32_t>("expert_count", 0);
  keys.only<std::uint32_t>("expert_used_count", 0);
}

void read_yarn(key_reader& keys, rope_parameters& rope, std::uint32_t context) {
  rope.original_context = keys.count("rope.scaling.original_context_length", max_context, context);
  const auto old_name = keys.positive("rope.scaling.attn_factor", 1.0f);
  rope.attention_factor = keys.positive("rope.scaling.yarn_attn_factor", old_name);
  rope.beta_fast = keys.positive("rope.scaling.yarn_beta_fast", rope.beta_fast);
  rope.beta_slow = keys.positive("rope.scaling.yarn_beta_slow", rope.beta_slow);
}

void read_rope(key_reader& keys, const gguf::file& file, const family& kind, model_program& out) {
  auto& rope = out.rope;
  rope.layout = kind.layout;
  rope.size = keys.count("rope.dimension_count", out.head_size, out.head_size);
  if (rope.size % 2 != 0)
    keys.refuse(errc::malformed, "rope.dimension_count", "is odd, and elements turn in pairs");
  rope.base = keys.positive("rope.freq_base", rope.base);
  const auto old_factor = keys.positive("rope.scale_linear", 1.0f); // What files before "rope.scaling" say.
  const auto factor = keys.positive("rope.scaling.factor", old_factor);
  const std::string_view fallback = factor == 1.0f ? "none" : "linear";
  const auto scaling = keys.get<std::string_view>("rope.scaling.type", fallback);
  if (scaling == "linear")
    rope.scaling = rope_scaling::linear;
  else if (scaling == "yarn")
    rope.scaling = rope_scaling::yarn;
  else if (scaling != "none")
    keys.refuse(errc::unsupported, "rope.scaling.type",
                fmt::format("is \"{}\"; none, linear and yarn are known", scaling));
  if (rope.scaling != rope_scaling::none)
    rope.factor = factor;
  if (rope.scaling == rope_scaling::yarn)
    read_yarn(keys, rope, out.context_length);
  if (file.find_tensor("rope_freqs.weight"))
    rope.frequency_factors = "rope_freqs.weight";
}

/// Appends operations, and checks each weight that they name.
class program_writer {
public:
  program_writer(const gguf::file& file, const family& kind, model_program& out)
      : file_(file), kind_(kind), out_(out) {}

  void embed() {
    if (weight("token_embd.weight", out_.width, out_.vocabulary))
      add({.kind = op_kind::embed, .output = buffer::hidden, .weight = "token_embd.weight"});
  }

  void norm(const std::string& name) {
    vector(name, out_.width);
    add({.kind = op_kind::rms_norm, .input = buffer::hidden, .output = buffer::normed, .weight = name});
  }

  void linear(buffer input, const std::string& name, buffer output) {
    weight(name + ".weight", out_.width_of(input), out_.width_of(output));
    std::string bias;
    if (kind_.biases && file_.find_tensor(name + ".bias")) {
      bias = name + ".bias";
      vector(bias, out_.width_of(output));
    }
    add({.kind = op_kind::matmul, .input = input, .output = output, .weight = name + ".weight", .bias = bias});
  }

  void add(operation what) {
    what.layer = layer;
    out_.operations.push_back(std::move(what));
  }

  void vector(const std::string& name, std::uint64_t elements) {
    const auto* found = find(name);
    if (found && (found->shape.size() != 1 || found->elements() != elements))
      wrong_shape(*found, fmt::format("[{}]", elements));
  }

  /// Every tensor must have a use: one that is ignored means another model than the file's author had in mind.
  void check_all_used() {
    for (const auto& tensor : file_.tensors())
      if (!used_.contains(tensor.name))
        fail_with(errc::unsupported,
                  fmt::format("The tensor \"{}\" has no place in a model of the architecture \"{}\" as "
                              "this version knows it.",
                              tensor.name, kind_.name));
  }

  std::uint32_t layer = 0;
  std::optional<error> failure;

private:
  bool weight(const std::string& name, std::uint64_t columns, std::uint64_t rows) {
    const auto* found = find(name);
    if (found && (found->shape.size() != 2 || found->shape[0] != columns || found->shape[1] != rows))
      wrong_shape(*found, fmt::format("[{}, {}]", columns, rows));
    return found;
  }

  const gguf::tensor* find(const std::string& name) {
    const auto* found = file_.find_tensor(name);
    if (!found)
      fail_with(errc::not_found, fmt::format("The model has no tensor \"{}\".", name));
    else
      used_.insert(found->name);
    return found;
  }

  void wrong_shape(const gguf::tensor& tensor, const std::string& wanted) {
    std::string shape;
    for (auto size : tensor.shape)
      shape += (shape.empty() ? "" : ", ") + std::to_string(size);
    fail_with(errc::malformed, fmt::format("The tensor \"{}\" has the shape [{}]; the metadata asks for {}.",
                                           tensor.name, shape, wanted));
  }

  void fail_with(errc code, std::string message) {
    if (!failure)
      failure = error{code, std::move(message)};
  }

  const gguf::file& file_;
  const family& kind_;
  model_program& out_;
  std::set<std::string_view> used_;
};

void write_layer(program_writer& to, bool last) {
  const auto prefix = fmt::format("blk.{}.", to.layer);
  to.norm(prefix + "attn_norm.weight");
  to.linear(buffer::normed, prefix + "attn_q", buffer::query);
  to.linear(buffer::normed, prefix + "attn_k", buffer::key);
  to.linear(buffer::normed, prefix + "attn_v", buffer::value);
  to.add({.kind = op_kind::rope, .output = buffer::query});
  to.add({.kind = op_kind::rope, .output = buffer::key});
  to.add({.kind = op_kind::store_kv, .input = buffer::key, .input2 = buffer::value});
  to.add({.kind = op_kind::attention, .input = buffer::query, .output = buffer::attended});
  if (last) // What follows the last attention serves the logits alone.
    to.add({.kind = op_kind::take_rows, .input = buffer::hidden, .input2 = buffer::attended});
  to.linear(buffer::attended, prefix + "attn_output", buffer::projected);
  to.add({.kind = op_kind::add, .input = buffer::projected, .output = buffer::hidden});
  to.norm(prefix + "ffn_norm.weight");
  to.linear(buffer::normed, prefix + "ffn_gate", buffer::gate);
  to.linear(buffer::normed, prefix + "ffn_up", buffer::up);
  to.add({.kind = op_kind::swiglu, .input = buffer::gate, .input2 = buffer::up, .output = buffer::gate});
  to.linear(buffer::gate, prefix + "ffn_down", buffer::projected);
  to.add({.kind = op_kind::add, .input = buffer::projected, .output = buffer::hidden});
}

std::optional<error> write_operations(const gguf::file& file, const family& kind, model_program& out) {
  program_writer to(file, kind, out);
  to.embed();
  if (!out.rope.frequency_factors.empty())
    to.vector(out.rope.frequency_factors, out.rope.size / 2);
  for (; to.layer < out.layers && !to.failure; ++to.layer)
    write_layer(to, to.layer + 1 == out.layers);
  to.layer = out.layers - 1;
  to.norm("output_norm.weight");
  const bool tied = !file.find_tensor("output.weight");
  to.linear(buffer::normed, tied ? "token_embd" : "output", buffer::logits);
  if (!to.failure)
    to.check_all_used();
  if (to.failure)
    return to.failure;
  for (const double frequency : frequencies_of(out, file).frequencies)
    if (!std::isfinite(frequency) || frequency <= 0)
      return error{errc::malformed,
                   "The model's rotary frequencies (rope.freq_base, rope_freqs.weight) are not all numbers above 0."};
  return std::nullopt;
}

std::optional<error> check_keys(const gguf::file& file, std::string_view architecture) {
  const auto prefix = std::string(architecture) + '.';
  for (std::size_t i = 0; i < file.metadata_count(); ++i) {
    const auto key = file.metadata(i).key;
    if (key.starts_with(prefix) && std::ranges::find(known_keys, key.substr(prefix.size())) == std::end(known_keys))
      return error{errc::unsupported,
                   fmt::format("The model's metadata key \"{}\" is not known to this version, which "
                               "would compute another model if it ignored it.",
                               key)};
  }
  return {};
}

expected<model_program> program_of(const gguf::file& file, const family& kind) {
  if (auto failure = check_keys(file, kind.name))
    return tl::unexpected(*failure);
  model_program out;
  out.architecture = kind.name;
  auto name = file.get_or<std::string_view>("general.name", "");
  if (!name)
    return tl::unexpected(name.error());
  out.name = *name;
  key_reader keys(file, kind.name);
  read_sizes(keys, out);
  read_rope(keys, file, kind, out);
  const auto* embedding = file.find_tensor("token_embd.weight");
  out.vocabulary =
    embedding ? static_cast<std::uint32_t>(std::min<std::uint64_t>(embedding->rows(), max_vocabulary)) : 0;
  if (embedding && keys.get<std::uint32_t>("vocab_size", out.vocabulary) > out.vocabulary)
    keys.refuse(errc::malformed, "vocab_size",
                fmt::format("is over the {} rows of token_embd.weight", out.vocabulary));
  if (keys.failure())
    return tl::unexpected(*keys.failure());
  if (auto failure = write_operations(file, kind, out))
    return tl::unexpected(*failure);
  return out;
}

} // namespace

std::uint32_t model_program::width_of(buffer which) const {
  switch (which) {
  case buffer::hidden:
  case buffer::normed:
  case buffer::projected:
    return width;
  case buffer::query:
  case buffer::attended:
    return heads * head_size;
  case buffer::key:
  case buffer::value:
    return kv_heads * head_size;
  case buffer::gate:
  case buffer::up:
    return feed_forward;
  case buffer::logits:
    return vocabulary;
  case buffer::count:
    break;
  }
  return 0;
}

expected<model_program> make_program(const gguf::file& file) {
  auto architecture = file.get<std::string_view>("general.architecture");
  if (!architecture)
    return tl::unexpected(architecture.error());
  std::string known;
  for (const auto& kind : families) {
    if (kind.name == *architecture)
      return program_of(file, kind);
    known += known.empty() ? "" : ", ";
    known += kind.name;
  }
  return fail(errc::unsupported,
              fmt::format("The model's architecture is \"{}\"; this version knows: {}.", *architecture, known));
}

std::uint64_t kv_block_bytes(const model_program& program, std::uint32_t bytes_per_value) {
  return std::uint64_t{2} * tokens_per_block * program.layers * program.kv_heads * program.head_size *
         bytes_per_value;
}

} // namespace troupe
