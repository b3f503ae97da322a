// The batch as a worker holds it: block tables and the last sampled token of each sequence that has joined. Steps are
// changes to it.
//
// In a pipeline every stage holds one. The last stage samples, and remembers that itself. The first one needs the token
// to go on from, and gets it later: it asks `has_tokens_for` before it applies a step, and a step whose tokens are
// missing waits, with all behind it, for `take_tokens`. Stages between them compute with rows, and need no token.
//
// A device that samples by itself can go on from its own tokens before anybody else knows them: a step that is applied `ahead` has
// `awaited_token`s in their places.
//
// Owner: one worker (or the stage that stands before it); one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// A worker's stage in the pipeline; the only one is the last one.
enum class stage_place : std::uint8_t { first, middle, last };

class batch_state {
public:
  /// `groups`: KV groups of the model, each with a table of its own for every sequence.
  explicit batch_state(std::size_t groups = 1, stage_place place = stage_place::last)
      : groups_(groups), place_(place) {}

  /// What one step computes, flat: the form in which a backend wants it. Valid until the next `apply`.
  struct rows {
    struct span {
      slot_id slot;
      std::uint32_t first_row, count, first_position;
      std::span<const std::vector<block_id>> tables; ///< One for each group.
    };
    /// A token is sampled from the logits of one row, and from those after it as long as drafts were right.
    struct sample {
      slot_id slot;
      std::uint32_t row;         ///< Index in `step_changes::rows`.
      std::uint32_t first_logit; ///< Index in `logit_rows`; drafts follow.
      std::uint32_t position;    ///< Of the first token to be sampled.
      std::span<const token_id> drafts;
    };
    /// Logits of rows in the prompt, whose next tokens are known.
    struct prompt_part {
      slot_id slot;
      std::uint32_t row;
      std::uint32_t first_logit;
      std::uint32_t position; ///< Of the first of `tokens`.
      std::span<const token_id> tokens;
    };
    /// Rows whose hidden states are pooled: consecutive positions of one sequence.
    struct pooled_part {
      slot_id slot;
      std::uint32_t row;
      std::uint32_t first_hidden, count; ///< In `hidden_rows`.
      bool ends;                         ///< With its prompt's last token.
    };
    std::vector<token_id> tokens; ///< Of a stage in the middle anything, as many as rows.
    std::vector<span> spans;
    // Of the last stage; empty in the others.
    std::vector<std::uint32_t> logit_rows;  ///< Ascending.
    std::vector<std::uint32_t> hidden_rows; ///< Ascending, after all of `logit_rows`.
    std::vector<pooled_part> pooled_parts;
    std::vector<sample> samples;
    std::vector<prompt_part> prompt_parts;
  };

  /// Applies a step's changes and lays out its rows, whose drafts and prompt tokens stay the step's. Sequences whose
  /// hidden states are pooled come last, on every stage: a backend then finds rows of hidden states behind those of logits. An error is a bug
  /// of the scheduler, or a step that was lost; the state is then undefined until the next snapshot.
  /// ahead: on a last stage, the tokens of the step before, and of no other, may be missing.
  expected<const rows*> apply(const step_changes& step, bool ahead = false);

  /// Whether the tokens have come that the next step to be applied goes on from. Always, where the stage is not the
  /// first of several.
  bool has_tokens_for(const step_changes& next) const;

  /// First stage: what a step that was applied has sampled; the last token of each of its sequences counts, if that
  /// has not left meanwhile. They come in the order of the steps; one that sampled nothing may be left out. Tokens of
  /// another epoch are void. Error: internal (no such step waits for tokens, or for another number of them).
  expected<void> take_tokens(const step_tokens& tokens);

  /// Last stage: remembers a token that was sampled in this step, for the one that goes on from it.
  void sampled(slot_id slot, std::uint64_t step, token_id token) {
    if (auto& m = members_[slot];
        m.awaited_step <= step) { // A later one that was begun ahead has samples of its own.
      m.last_token = token;
      m.awaited_step = 0;
    }
  }

  std::size_t sequences() const { return sequences_; }

private:
  struct member {
    sequence_id sequence = 0;
    bool joined = false;
    std::uint32_t prompt_tokens = 0;
    troupe::pooling pooling = troupe::pooling::none;
    std::vector<std::vector<block_id>> tables;
    token_id last_token = -1;
    std::uint64_t awaited_step = 0; ///< Has sampled its last token, which has not come; 0: none.
    token_id awaited = no_token;    ///< What stands for that token on a last stage; no_token: nothing can.
  };

  /// A step whose tokens have not come.
  struct sampling_step {
    std::uint64_t step = 0;
    std::vector<slot_id> slots; ///< Of its rows that sample, in their order.
  };

  expected<void> change_members(const step_changes& step);
  expected<void> add_rows(const step_changes& step, std::uint32_t index, bool ahead);
  expected<void> add_logits(const step_changes& step, std::uint32_t index, member& m,
                            std::span<const token_id> drafts);
  void add_hidden(std::uint32_t index, const member& m);
  /// What it goes on from; no_token: it has nothing.
  token_id held_token(const member& m, bool ahead) const;
  void await_tokens(const step_changes& step);
  member* find(slot_id slot);

  std::size_t groups_;
  stage_place place_;
  std::uint64_t epoch_ = 0;
  std::deque<sampling_step> awaited_; ///< Of the first stage, in their order.
  std::size_t sequences_ = 0;
  std::vector<member> members_; ///< By slot.
  rows rows_;
};

} // namespace troupe
