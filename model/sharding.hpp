// How a model is cut for tensor parallelism: column and row sharding of every matrix.
//
// A model has *logical shards*: some KV heads with their query heads, and a piece of the feed-forward width, all of them whole
// blocks of the quantised matrices. A rank has one or several. Queries, keys, values, gate and up are cut by their
// outputs, so each shard has its own; attention's output and down are cut by their columns, so each shard has a partial
// result of the full width, and these are added in the order of the shards. So the sum has the same bits however many
// ranks there are. Embedding and logits are cut by the vocabulary.
// Source: https://arxiv.org/abs/1909.08053 (Megatron-LM).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/architecture.hpp"
#include "model/backend.hpp"
#include "model/gguf/file.hpp"
#include "protocol/error.hpp"

namespace troupe {

struct index_range {
  std::uint32_t begin = 0, end = 0;
  std::uint32_t size() const { return end - begin; }
  bool contains(std::uint32_t index) const { return begin <= index && index < end; }
  bool operator==(const index_range&) const = default;
};

struct sharding_plan {
  std::vector<index_range> kv_heads, feed_forward; ///< Of each logical shard.
  std::vector<index_range> shards, vocabulary;     ///< Of each rank.

  unsigned ranks() const { return static_cast<unsigned>(shards.size()); }
  /// What a communicator wants to know, where each has a partial result of its own: the number of logical shards of each rank.
  std::vector<unsigned> shards_of_ranks() const;
};

/// Ranks may have different numbers of shards: nine heads in three groups run on two. Errors: invalid_argument (no
/// rank, or more ranks than the model has shards).
expected<sharding_plan> plan_shards(const model_program& whole, const gguf::file& file, unsigned ranks);

/// What one rank executes: its heads, its feed-forward width, its part of the vocabulary, its slices of the matrices.
model_program program_of_rank(const model_program& whole, const sharding_plan& plan, unsigned rank);

/// Whether a backend's group is the one that its program needs. shards: partial results that the backend has.
/// Errors: invalid_argument.
std::optional<error> check_group(const model_program& program, const backend_options& options, unsigned shards);

} // namespace troupe
