// The batch as a worker holds it: block tables and the last sampled token of each sequence that has joined. Steps are
// changes to it.
//
// Owner: one worker (or the stage that stands before it); one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

class batch_state {
public:
  /// `groups`: KV groups of the model, each with a table of its own for every sequence.
  explicit batch_state(std::size_t groups = 1) : groups_(groups) {}

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
    std::vector<token_id> tokens;
    std::vector<span> spans;
    std::vector<std::uint32_t> logit_rows; ///< Ascending.
    std::vector<sample> samples;
    std::vector<prompt_part> prompt_parts;
  };

  /// Applies a step's changes and lays out its rows, whose drafts and prompt tokens stay the step's. An error is a bug
  /// of the scheduler, or a step that was lost; the state is then undefined until the next snapshot.
  expected<const rows*> apply(const step_changes& step);

  /// Remembers a sampled token, for the step that goes on from it.
  void sampled(slot_id slot, token_id token) { members_[slot].last_token = token; }

  std::size_t sequences() const { return sequences_; }

private:
  struct member {
    sequence_id sequence = 0;
    bool joined = false;
    std::uint32_t prompt_tokens = 0;
    std::vector<std::vector<block_id>> tables;
    token_id last_token = -1;
  };

  expected<void> change_members(const step_changes& step);
  expected<void> add_rows(const step_changes& step, std::uint32_t index);
  member* find(slot_id slot);

  std::size_t groups_;
  std::size_t sequences_ = 0;
  std::vector<member> members_; ///< By slot.
  rows rows_;
};

} // namespace troupe
