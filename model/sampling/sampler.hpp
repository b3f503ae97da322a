// From a row of logits to a token, by a sequence's parameters.
//
// The order, and what each step does to the logits that the one before it left:
//  1. allowed tokens and the grammar's mask: every other token is masked (its logit becomes -infinity).
//  2. bad words: a token is masked that would complete one: the answer's last tokens are the word's other tokens. A
//     word of one token is always masked. What stands in the prompt completes nothing.
//  3. min tokens: `end_tokens` are masked while the answer has fewer.
//  4. logit bias is added. A masked token stays masked, here and below.
//  5. repetition penalty r, once for each different token of prompt and answer: a logit over 0 is divided by r,
//     another multiplied. Then, for tokens of the answer, frequency penalty times the token's count is subtracted,
//     then the presence penalty.
//  6. Temperature 0 ends here: the largest logit wins, the lowest id of equals. Else logits are divided by it, and
//     weight(token) = exp((logit - largest) / temperature) is what probabilities are in proportion to.
//  7. min-p: what weighs at least min_p is kept; ties are kept together.
//  8. top-k: the k first, by descending logit, and ascending id where logits are equal.
//  9. top-p: the shortest beginning of that order that has top_p of the weight of all that step 8 left.
// 10. typical-p: the shortest beginning that has typical_p of the weight of all that step 9 left, in another order:
//     tokens whose information (-log of the probability among those left) is nearest to its mean, the entropy, come
//     first; the lowest id of equally near ones.
// 11. The token with the largest logit / temperature + noise, of what is left (noise.hpp); the lowest id of equals.
// Each of 7 to 10 leaves at least one token, and is left out by its parameter's default.
//
// It is the order of vLLM's V1 engine, to which typical-p is added where Transformers has it. Where a request wants
// logprobs, they are of the logits before step 1 (logprobs.hpp).
//
// What is exact. Steps 1 to 5 are single float32 operations. Weights are defined in kernels.hpp, as integers: their
// sums are exact, so a cut is where it is on every CPU, alone or in a batch. Against real arithmetic the cut of 7, 9
// and 10 may be off where the share is missed or met by under a hundred-thousandth.
//
// Where several ranks share a row, each having the logits of some tokens, most settings need no more of a part than
// its best: of the parts' proposals `decide` takes the same token, bit for bit, that `sample` would take from the whole
// row. Steps 1 to 5 change each logit by itself, the winner of 6 or 11 is its part's winner, and the k first are among
// their parts' k first, of which 7 and 9 to 11 leave the same. Without top-k, steps 7, 9 and 10 want the whole row.
//
// Sources: temperature, Ackley et al. (1985); repetition penalty, https://arxiv.org/abs/1909.05858; top-k,
// https://arxiv.org/abs/1805.04833; top-p, https://arxiv.org/abs/1904.09751; typical-p,
// https://arxiv.org/abs/2202.00666; min-p, https://arxiv.org/abs/2407.01082; frequency and presence penalties, logit
// bias: OpenAI's API reference.
//
// Owner: the worker has one workspace, and a sampler for each sequence of its batch. Threads: a workspace and a
// sampler are each used by one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/sequence_sampling.hpp"
#include "engine/step.hpp"
#include "model/sampling/history.hpp"
#include "model/sampling/noise.hpp"
#include "model/sampling/processors.hpp"
#include "model/sampling/requests.hpp"
#include "model/sampling/workspace.hpp"

namespace troupe {

/// Whether all token ids in `sampling` are of a vocabulary. Errors: invalid_argument, which names the field.
expected<void> check_tokens(const sequence_sampling& sampling, std::uint32_t vocabulary);

/// Why a row has no token. Internal: a logit is NaN or +infinity.
error damaged_logits();
/// invalid_argument: the parameters and the mask leave none.
error no_token_left();

/// A part of a row: the logits of the tokens from `first` on.
struct row_part {
  std::span<const float> logits;
  token_id first = 0;                        ///< A multiple of sampling::block_tokens.
  std::span<const float> block_largest = {}; ///< As in `sequence_sampler::sample`.
};

/// A token that may win, of one part of a row. Travels between ranks as it is in memory.
struct proposal {
  double score = 0;          ///< What it competes by; +infinity: something in the part is no number.
  token_id token = no_token; ///< `no_token`: there is none.
  std::uint32_t unused = 0;  ///< So that no byte is undefined.
};

/// Of a larger top-k the whole row is wanted: so many proposals are 4 KB.
inline constexpr std::uint32_t max_proposals = 256;

class sequence_sampler {
public:
  sequence_sampler() = default; ///< For a slot without a sequence; not to be sampled with.
  explicit operator bool() const { return sampling_ != nullptr; } ///< Whether it is a sequence's.

  /// history: all the sequence's tokens so far, of which the prompt's `prompt_tokens` are the first; needed only
  /// where `sampling->needs_history()`.
  sequence_sampler(std::shared_ptr<const sequence_sampling> sampling, std::uint32_t prompt_tokens,
                   std::span<const token_id> history = {});

  /// The token at `position` of the sequence (counted with its prompt), which is not accepted by this.
  /// logits: one for each token of the workspace's vocabulary; -infinity where a model never wants a token.
  /// mask: a grammar's; empty: all tokens.
  /// block_largest: what sampling's `scan` finds in `logits`, where somebody has looked already; or empty.
  /// Errors: internal where a logit is NaN or +infinity, or the history is not that of `position`; invalid_argument
  /// where the parameters and the mask leave no token.
  expected<token_id> sample(std::span<const float> logits, std::uint32_t position, sampling_workspace& room,
                            sampling::token_mask mask = {}, std::span<const float> block_largest = {}) const;

  /// How many proposals of each part `decide` needs instead of the row; 0: there is no way but `sample`.
  std::uint32_t proposals() const;

  /// What a part of the row proposes. out: [proposals()]. Errors: internal, as of `sample`; what is wrong with the
  /// row is said by `decide`.
  expected<void> propose(const row_part& part, std::uint32_t position, sampling_workspace& room,
                         std::span<proposal> out, sampling::token_mask mask = {}) const;

  /// What `sample` would take from the whole row, and its errors.
  /// all: [parts, proposals()], in the order of the parts' tokens.
  expected<token_id> decide(std::span<const proposal> all, std::uint32_t position, sampling_workspace& room) const;

  /// The same, to be asked of a backend. Whether there can be such a request: `knows_all_before(position)`.
  sampling_request request(std::uint32_t logits, std::uint32_t position) const;
  /// Whether the history is that of `position`, or none is needed.
  bool knows_all_before(std::uint32_t position) const;

  /// The next token of the sequence, sampled or given. To check drafts: sample a row, accept the token, and go on to
  /// the next row while the token is the draft.
  void accept(token_id token);

  /// Takes accepted tokens back, until the sequence has `tokens` (with its prompt).
  void truncate(std::uint32_t tokens);

  const sequence_sampling& parameters() const { return *sampling_; }

private:
  bool changes_logits(sampling::token_mask mask, std::uint32_t position) const;
  /// Steps 1 to 5: the part's logits, or `row` if there is anything to change.
  std::span<const float> process(const row_part& part, std::uint32_t position, sampling::token_mask mask,
                                 std::span<float> row) const;
  struct processed {
    std::span<const float> row;
    float largest; ///< +infinity where something is no number, -infinity where no token is left.
  };
  /// And what is largest, also of each block, which is in the workspace then.
  expected<processed> look_at(const row_part& part, std::uint32_t position, sampling_workspace& room,
                              sampling::token_mask mask) const;
  bool truncates() const {
    return sampling_->top_k > 0 || sampling_->top_p < 1.0f || sampling_->min_p > 0.0f || sampling_->typical_p < 1.0f;
  }
  bool too_short_to_end(std::uint32_t position) const;

  std::shared_ptr<const sequence_sampling> sampling_;
  std::uint32_t prompt_tokens_ = 0;
  sampling::token_history history_; ///< Empty unless it is needed.
};

} // namespace troupe
