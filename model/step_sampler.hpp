// Samples what a step wants of its logits, with the samplers of the sequences that have joined.
//
// Where several ranks share the vocabulary, all of them sample the same tokens, each for itself. A row whose token its parts'
// proposals decide (model/sampling/sampler.hpp) is not gathered: the ranks exchange their proposals instead, those of all such rows at
// once. Rows that want more are gathered by the backend: those with logprobs, of prompts too, and those cut by a share of
// probability without top-k. Which rows are which depends on the step and the sequences' parameters, so the ranks agree.
//
// A backend that can sample by itself is asked for all tokens of a step, or, where one of them is beyond it, for all logits, and then they are
// sampled here: the same bits. That is decided in `prepare`, and nowhere else.
//
// Owner: the worker of a last stage (or of the only one); one thread calls, and rows are sampled on the backend's threads.
#pragma once

#include <array>
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

  /// Whether a step can be begun before the one that was prepared last is sampled: the device samples all of it, and nothing but the tokens
  /// that it goes on from is missing.
  bool can_run_ahead(const step_changes& step, const backend& device);

  /// Sets what a forward pass over these rows is asked for: `own_logits`, or `sampling` and `chosen`. Valid until they are sampled.
  void prepare(const batch_state::rows& rows, const backend& device, forward_batch& batch);

  /// Samples and judges the rows that were prepared first, of those that are not sampled yet, and whose logits (or tokens) `device` has
  /// computed: there are two of these only where the second may run ahead. What goes wrong with one sequence is in the result, which
  /// knows its step. logits: what `forward` gave, or nothing. Errors: those of the backend's exchange.
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

  /// The logits of the step, and what the device knows of them; or what it has chosen.
  struct computed {
    std::span<const float> logits, block_largest;
    vocabulary_share own;
    std::span<chosen_token> chosen;
  };

  std::span<const std::uint32_t> own_logits(const batch_state::rows& rows, const backend& device);
  /// What a device is asked for in one step. Without requests it gives logits.
  struct device_step {
    std::vector<sampling_request> requests;
    std::vector<chosen_token> chosen; ///< [logit rows]
  };

  void ask(const batch_state::rows& rows, const backend& device, device_step& asked);
  bool ask(const batch_state::rows::sample& s, device_step& asked);

  row_part part_of(const computed& step, std::uint32_t logit, std::uint32_t begin, std::uint32_t end) const;
  /// Of all its logits, as if every draft were right: others are not looked at.
  void propose(const batch_state::rows::sample& s, const computed& step, sampling_workspace& room, outcome& out);
  expected<void> exchange(backend& device, std::span<const batch_state::rows::sample> samples);
  expected<token_id> take(const batch_state::rows::sample& s, std::uint32_t accepted, const computed& step,
                          sampling_workspace& room, const outcome& out) const;
  expected<token_logprob> judge(const computed& step, std::uint32_t logit, token_id token, std::int32_t top,
                                sampling_workspace& room);
  void sample_row(const batch_state::rows::sample& s, const computed& step, sampling_workspace& room,
                  batch_state& batch, std::uint64_t number, outcome& out);
  void judge_prompt(const batch_state::rows::prompt_part& part, const computed& step, step_result& result);

  std::uint32_t vocabulary_;
  std::vector<sequence_sampler> samplers_;   ///< By slot.
  std::vector<sampling_workspace> rooms_;    ///< One for each thread that samples.
  std::vector<outcome> outcomes_;            ///< Of the present step's samples, and more.
  std::array<device_step, 2> asked_;         ///< In turns.
  std::uint64_t prepared_ = 0, sampled_ = 0; ///< Steps so far.
  std::vector<sampling_request> ahead_;      ///< Room of can_run_ahead().
  std::vector<std::uint32_t> own_logits_;
  std::vector<proposal> mine_, all_; ///< [proposals], and [ranks] of these.
  std::vector<proposal> by_row_;     ///< [logits][ranks][each], as `decide` wants them.
};

} // namespace troupe
