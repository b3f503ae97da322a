// Samples what a step wants of its logits, with the samplers of the sequences that have joined.
//
// Where several ranks share the vocabulary, all of them sample the same tokens, each for itself. A row whose token its parts'
// proposals decide (model/sampling/sampler.hpp) is not gathered: the ranks exchange their proposals instead, those of all such rows at
// once. Rows that want more are gathered by the backend: those with logprobs, of prompts too, and those cut by a share of
// probability without top-k. Which rows are which depends on the step and the sequences' parameters, so the ranks agree.
//
// Owner: the worker of a last stage (or of the only one); one thread calls, and rows are sampled on the backend's threads.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/batch_state.hpp"
#include "engine/step.hpp"
#include "model/backend.hpp"
#include "model/sampling/sampler.hpp"
#include "protocol/error.hpp"

namespace troupe {

class step_sampler {
public:
  explicit step_sampler(std::uint32_t vocabulary);

  void join(const sequence_joined& joined);

  /// What `forward_batch::own_logits` is to be for these rows. Valid until the next call.
  std::span<const std::uint32_t> own_logits(const batch_state::rows& rows, const backend& device);

  /// Samples and judges the rows that own_logits() was last asked about, whose logits `device` has computed. What goes wrong
  /// with one sequence is in the result. Errors: those of the backend's exchange.
  expected<void> sample(const batch_state::rows& rows, std::span<const float> logits, backend& device,
                        batch_state& batch, step_result& result);

private:
  /// What came of one row that samples.
  struct outcome {
    std::vector<token_id> tokens; ///< One, and one more for each draft that was right.
    std::vector<token_logprob> logprobs;
    std::optional<error> failed;
    std::uint32_t each = 0; ///< Proposals of each part of each of its logits; 0: they are gathered.
    std::size_t first = 0;  ///< Of them, in `mine_`.
  };

  /// The logits of the step, and what the device knows of them.
  struct computed {
    std::span<const float> logits, block_largest;
    vocabulary_share own;
  };

  row_part part_of(const computed& step, std::uint32_t logit, std::uint32_t begin, std::uint32_t end) const;
  /// Of all its logits, as if every draft were right: others are not looked at.
  void propose(const batch_state::rows::sample& s, const computed& step, sampling_workspace& room, outcome& out);
  expected<void> exchange(backend& device, std::span<const batch_state::rows::sample> samples);
  expected<token_id> take(const batch_state::rows::sample& s, std::uint32_t accepted, const computed& step,
                          sampling_workspace& room, const outcome& out) const;
  void sample_row(const batch_state::rows::sample& s, const computed& step, sampling_workspace& room,
                  batch_state& batch, outcome& out);
  void judge_prompt(const batch_state::rows::prompt_part& part, const computed& step, step_result& result);

  std::uint32_t vocabulary_;
  std::vector<sequence_sampler> samplers_; ///< By slot.
  std::vector<sampling_workspace> rooms_;  ///< One for each thread that samples.
  std::vector<outcome> outcomes_;          ///< Of the present step's samples, and more.
  std::vector<std::uint32_t> own_logits_;
  std::vector<proposal> mine_, all_; ///< [proposals], and [ranks] of these.
  std::vector<proposal> by_row_;     ///< [logits][ranks][each], as `decide` wants them.
};

} // namespace troupe
