// Model families as data.
//
// A family is an entry of one table: its name in `general.architecture`, and a function from a file's metadata to a
// `model_program`, the hyperparameters and the list of operations that every backend executes in order. There is no
// class for a family; a new one that needs nothing new is one more entry.
//
// An operation reads and writes named row buffers: matrices of float32 of shape [rows of the batch, width]. A backend
// may keep them in another type, and may fuse neighbours, as long as each row's result does not depend on the other
// rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/step.hpp"
#include "model/gguf/file.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// Row buffers. Their widths are in `model_program::width_of`.
enum class buffer : std::uint8_t { hidden, normed, query, key, value, attended, gate, up, projected, logits, count };

/// A part of a stored matrix; 0 rows or columns: all from the first on.
struct weight_slice {
  std::uint32_t first_row = 0, rows = 0, first_column = 0, columns = 0;
  bool operator==(const weight_slice&) const = default;
};

enum class op_kind : std::uint8_t {
  embed,       ///< output = weight[token of the row]
  rms_norm,    ///< output = input / sqrt(mean(input^2) + epsilon) * weight
  matmul,      ///< output = input * transpose(weight) (+ bias); weight has shape [N rows, K columns]
  rope,        ///< rotates each head of `output` in place by the row's position
  store_kv,    ///< writes `input` (keys) and `input2` (values) of the row into its block
  attention,   ///< output = softmax(query * keys^T * scale) * values over positions up to the row's own
  swiglu,      ///< output = silu(input) * input2
  add,         ///< output += input
  all_reduce,  ///< output = the sum of what all ranks' logical shards have computed for it
  all_gather,  ///< logits = the parts of all ranks
  take_hidden, ///< output = the rows that the stage before has given; see model/stages.hpp
  give_hidden, ///< gives the rows of `input` to the next stage
  take_rows, ///< from here on only the rows whose logits are wanted: keeps those rows of `input` and `input2`, drops all other buffers
};

struct operation {
  op_kind kind;
  buffer input = buffer::hidden;
  buffer input2 = buffer::hidden;
  buffer output = buffer::hidden;
  std::string weight = {}; ///< Tensor's name; empty where there is none.
  std::string bias = {};   ///< Tensor's name; empty where there is none.
  std::uint32_t layer = 0;
  kv_group group = 0;
  weight_slice slice =
    {}; ///< Of `weight`; of `bias` the same rows. Of embed: the rows that this rank has; others' tokens become 0.
  /// matmul: where the input's columns of each logical shard begin, and the last one's end: each has a result of its own, which
  /// the all_reduce that follows adds up. Empty: one result.
  std::vector<std::uint32_t> shard_columns = {};
};

enum class rope_layout : std::uint8_t {
  interleaved, ///< pairs (2i, 2i + 1): Llama's weights as GGUF stores them
  halves,      ///< pairs (i, i + size / 2)
};

enum class rope_scaling : std::uint8_t { none, linear, yarn };

struct rope_parameters {
  rope_layout layout = rope_layout::interleaved;
  rope_scaling scaling = rope_scaling::none;
  std::uint32_t size = 0; ///< Rotated elements at the start of each head.
  float base = 10000.0f;
  float factor = 1.0f;                       ///< linear, yarn
  std::uint32_t original_context = 0;        ///< yarn
  float attention_factor = 1.0f;             ///< yarn
  float beta_fast = 32.0f, beta_slow = 1.0f; ///< yarn
  std::string frequency_factors = {};        ///< Tensor's name (Llama 3's scaling), or empty.
};

struct model_program {
  std::string architecture, name;
  std::uint32_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_size = 0, feed_forward = 0, vocabulary = 0;
  std::uint32_t context_length = 0;
  unsigned rank = 0; ///< Of those that share this model; see model/sharding.hpp.
  std::vector<std::uint32_t>
    logit_cuts{}; ///< Where each rank's part of the vocabulary begins, and the last one's end; empty: no parts.
  float rms_epsilon = 1e-5f;
  float attention_scale = 0; ///< 1 / sqrt(head_size)
  rope_parameters rope;
  std::vector<operation> operations;

  std::uint32_t width_of(buffer which) const;
  /// Whether a pipeline stage comes before it, and whether one comes after it, so that it has no logits.
  bool takes_hidden() const { return !operations.empty() && operations.front().kind == op_kind::take_hidden; }
  bool gives_hidden() const { return !operations.empty() && operations.back().kind == op_kind::give_hidden; }
};

/// What an angle of RoPE is made of: pair i of a head turns by position * frequencies[i] radians, and its result is
/// multiplied by `magnitude` (YaRN's attention factor; 1 otherwise).
/// Source: https://arxiv.org/abs/2104.09864 (RoPE), https://arxiv.org/abs/2309.00071 (YaRN).
struct rope_frequencies {
  std::vector<double> frequencies; ///< [size / 2]
  double magnitude = 1.0;
};

/// `factors` are the values of the tensor `frequency_factors` names ([size / 2]), or empty.
rope_frequencies frequencies_of(const rope_parameters& rope, std::span<const float> factors);

/// The same, with the factors read from the program's file.
rope_frequencies frequencies_of(const model_program& program, const gguf::file& file);

/// Reads the metadata, looks the family up and checks that every tensor an operation names is there with the shape it
/// needs, and that there is no key of the family's own and no tensor that the program would ignore. Errors:
/// unsupported (names the architecture and those that are known, or the key or tensor), malformed (names the key or
/// tensor), not_found.
expected<model_program> make_program(const gguf::file& file);

} // namespace troupe
