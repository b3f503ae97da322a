// One step of the engine as its workers see it: what changed since the last one, and which rows to compute.
//
// Owner: the scheduler writes a `step_changes`, the executor passes it on, every worker applies it to the batch that
// it holds (engine/batch_state.hpp). A step carries changes, never the world; the first step of an epoch is a
// snapshot: workers forget what they hold, and every running sequence joins again. Its lists are flat: a step of 256
// decodes is one allocation, whatever their contexts.
//
// A worker takes steps in their order, and of one step first those that left, then those that joined, blocks
// appended, blocks copied, and the rows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/sequence_sampling.hpp"
#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// Names a sequence within one engine; never used twice.
using sequence_id = std::uint64_t;

/// A running sequence's place in the batch, a small number; free again for another when it has left.
using slot_id = std::uint32_t;

/// Index of a block of KV memory: `tokens_per_block` positions of every layer of its group.
using block_id = std::uint32_t;

/// Layers that share a block table. Layers whose attention windows differ are in different groups.
using kv_group = std::uint8_t;

inline constexpr std::uint32_t tokens_per_block = 16;

/// Stands where no token could be sampled: the sequence's own parameters leave none, or its logits are no numbers. It ends
/// that sequence and no other; until the worker hears of that, it goes on from any token.
inline constexpr token_id no_token = -1;

/// Stands for the token that the device has chosen of these logits of the step before, and has not told yet.
constexpr token_id awaited_token(std::uint32_t logits) {
  return -2 - static_cast<token_id>(logits);
}
constexpr bool is_awaited(token_id token) {
  return token < no_token;
}

/// A prompt, shared by all who look at it.
using shared_tokens = std::shared_ptr<const std::vector<token_id>>;
using shared_sampling = std::shared_ptr<const sequence_sampling>;

struct sequence_joined {
  slot_id slot = 0;
  sequence_id sequence = 0;
  shared_sampling sampling;
  std::uint32_t prompt_tokens = 0; ///< So that the worker knows how long the answer is.
  shared_tokens history;           ///< All its tokens so far, where `sampling->needs_history()`; else none.
  std::uint64_t mask = 0;          ///< Handle of a grammar's matcher; 0: none.
  std::uint64_t adapter = 0;       ///< Handle of an adapter's weights; 0: none.
};

/// Blocks added at the end of a sequence's table: `step_changes::blocks` from `offset`.
struct blocks_appended {
  slot_id slot = 0;
  kv_group group = 0;
  std::uint32_t offset = 0, count = 0;
  bool operator==(const blocks_appended&) const = default;
};

/// The whole content of a block is copied to another: a fork's own copy of what it would write to.
struct block_copied {
  kv_group group = 0;
  block_id from = 0, to = 0;
  bool operator==(const block_copied&) const = default;
};

/// The rows of one sequence in this step: positions [first_position, first_position + count). Their tokens are
/// `step_changes::tokens` from `offset`, in order; if `holds_last`, without that of row `count - drafts - 1`, which is
/// the token that was sampled last for this sequence and which the worker still holds.
struct step_rows {
  slot_id slot = 0;
  std::uint32_t first_position = 0;
  std::uint32_t count = 0;
  std::uint32_t offset = 0; ///< Of its tokens in `step_changes::tokens`.
  std::uint16_t drafts = 0; ///< The last `drafts` rows are guesses.
  bool holds_last = false;  ///< One token is the one that was sampled last: `count - 1` are given.
  bool samples = false;     ///< Sample the token after the last row that is no draft, and after each draft that was right.
  /// Report the logprob of the prompt's token after each row that has one. That after the last row follows its tokens.
  bool prompt_logprobs = false;
  std::uint32_t given() const { return count - (holds_last ? 1 : 0); }
  bool operator==(const step_rows&) const = default;
};

struct step_changes {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  bool snapshot = false; ///< Forget all sequences before applying the rest.
  std::vector<slot_id> left;
  std::vector<sequence_joined> joined;
  std::vector<blocks_appended> appended;
  std::vector<block_copied> copied;
  std::vector<step_rows> rows;
  std::vector<token_id> tokens;
  std::vector<block_id> blocks;
};

/// Logprobs of some tokens of one row's sequence, from `position` on.
struct row_logprobs {
  std::uint32_t row = 0;      ///< Index in `step_changes::rows`.
  std::uint32_t position = 0; ///< Of the first token, in the sequence.
  std::vector<token_logprob> tokens;
};

/// Of one row's sequence, whose prompt ends with that row: `sequence_sampling::pooling` of its hidden states.
struct row_embedding {
  std::uint32_t row = 0;     ///< Index in `step_changes::rows`.
  std::vector<float> values; ///< [width], of length 1.
};

/// Why a row's sequence goes no further: no token could be sampled, or no logprob be told.
struct row_failure {
  std::uint32_t row = 0; ///< Index in `step_changes::rows`.
  error why;
};

struct step_result {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  std::vector<token_id> sampled;       ///< In the order of the rows that sample; `no_token` is one, too.
  std::vector<std::uint16_t> accepted; ///< For each of them how many drafts were right: so many + 1 tokens. Empty: none has drafts.
  std::vector<row_logprobs> logprobs;        ///< Of sampled tokens, for rows whose sequences want them.
  std::vector<row_logprobs> prompt_logprobs; ///< Of prompts' tokens.
  std::vector<row_embedding> embeddings;
  std::vector<row_failure> failures;
  double compute_ms = 0;
};

/// What a pipeline's first stage is told by its last one: what was sampled in a step, as in `step_result`.
struct step_tokens {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  std::vector<token_id> sampled;
  std::vector<std::uint16_t> accepted;
};

} // namespace troupe
