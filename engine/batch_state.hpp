// The batch as a worker holds it: block tables, sampling parameters and the last sampled token of each sequence that
// has joined. Steps are changes to it.
//
// Owner: one worker (or the stage that stands before it); one thread.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

class batch_state {
public:
  /// What one step computes, flat: the form in which a backend wants it. Valid until the next `apply`.
  struct rows {
    struct span {
      sequence_id sequence;
      std::uint32_t first_row, count, first_position;
      std::span<const block_id> blocks;
    };
    struct sample {
      sequence_id sequence;
      std::uint32_t row;      ///< Whose logits decide.
      std::uint32_t position; ///< Of the token to be sampled.
      sequence_sampling sampling;
    };
    std::vector<token_id> tokens;
    std::vector<span> spans;
    std::vector<sample> samples;
  };

  /// Applies a step's changes and lays out its rows. An error is a bug of the scheduler, or a step that was lost; the
  /// state is then undefined until the next snapshot.
  expected<const rows*> apply(const step_changes& step);

  /// Remembers a sampled token, for the step that goes on from it.
  void sampled(sequence_id sequence, token_id token);

  std::size_t sequences() const { return sequences_.size(); }

private:
  struct member {
    sequence_sampling sampling;
    std::vector<block_id> blocks;
    token_id last_token = -1;
  };

  std::unordered_map<sequence_id, member> sequences_;
  rows rows_;
};

} // namespace troupe
