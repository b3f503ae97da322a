// One step of the engine as its workers see it: what changed since the last one, and which rows to compute.
//
// Owner: the scheduler writes a `step_changes`, the executor numbers it, every worker applies it to the batch that it
// holds (engine/batch_state.hpp). A step carries changes, never the world; the first step of an epoch is a snapshot:
// workers forget what they hold, and every running sequence joins again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe {

/// Names a sequence within one engine; never used twice.
using sequence_id = std::uint64_t;

/// Index of a block of KV memory: `tokens_per_block` positions of every layer of its group.
using block_id = std::uint32_t;

/// Layers that share a block table. Layers whose attention windows differ are in different groups.
using kv_group = std::uint8_t;

inline constexpr std::uint32_t tokens_per_block = 16;

/// What decides a sequence's tokens, beside the model and its tokens so far.
struct sequence_sampling {
  float temperature = 0.0f;
  std::uint64_t seed = 0;
  std::uint32_t choice = 0; ///< Index among the n answers to one prompt.
  bool operator==(const sequence_sampling&) const = default;
};

struct sequence_joined {
  sequence_id sequence = 0;
  sequence_sampling sampling;
  std::uint64_t mask = 0;    ///< Handle of a grammar's matcher; 0: none.
  std::uint64_t adapter = 0; ///< Handle of an adapter's weights; 0: none.
  bool operator==(const sequence_joined&) const = default;
};

/// Blocks added at the end of a sequence's table, in order.
struct blocks_appended {
  sequence_id sequence = 0;
  kv_group group = 0;
  std::vector<block_id> blocks;
  bool operator==(const blocks_appended&) const = default;
};

/// The rows of one sequence in this step: positions [first_position, first_position + count). `tokens` are the tokens
/// at the first `tokens.size()` of them. If it has one less than `count`, the last row's token is the one that was
/// sampled last for this sequence, which the worker still holds. Rows from `count - drafts` on are drafts.
struct step_rows {
  sequence_id sequence = 0;
  std::uint32_t first_position = 0;
  std::uint32_t count = 0;
  std::uint32_t drafts = 0;
  bool samples = false; ///< Sample the token after the last row (and after each draft).
  std::vector<token_id> tokens;
  bool operator==(const step_rows&) const = default;
};

struct step_changes {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  bool snapshot = false; ///< Forget all sequences before applying the rest.
  std::vector<sequence_id> left;
  std::vector<sequence_joined> joined;
  std::vector<blocks_appended> appended;
  std::vector<step_rows> rows;
  bool operator==(const step_changes&) const = default;
};

struct sampled_token {
  sequence_id sequence = 0;
  std::uint32_t position = 0; ///< Where the token stands in the sequence (prompt and answer together).
  token_id token = 0;
  bool operator==(const sampled_token&) const = default;
};

struct step_result {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  std::vector<sampled_token> sampled; ///< In the order of the rows that sample.
  double compute_ms = 0;
  bool operator==(const step_result&) const = default;
};

} // namespace troupe
