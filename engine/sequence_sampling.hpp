// What decides a sequence's tokens, beside the model and its tokens so far: the parameters of one answer, in token ids.
#pragma once

#include <cstdint>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe {

struct token_bias {
  token_id token = 0;
  float bias = 0.0f; ///< Added to the token's logit.
  bool operator==(const token_bias&) const = default;
};

/// The same fields as `sampling_parameters` (protocol/messages.hpp says what each means), where text has become
/// tokens. Immutable once a sequence has been queued; everybody who needs it shares one copy.
struct sequence_sampling {
  float temperature = 0.0f; ///< 0: greedy.
  std::uint64_t seed = 0;
  std::uint32_t choice = 0; ///< Index among the n answers to one prompt; part of the key of the noise.
  std::uint32_t top_k = 0;  ///< 0: off.
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f; ///< Of tokens in the prompt and in the answer.
  float presence_penalty = 0.0f;   ///< Of tokens in the answer.
  float frequency_penalty = 0.0f;
  std::uint32_t min_tokens = 0; ///< Before these are generated, none of `end_tokens` is sampled.
  std::int32_t logprobs = -1;   ///< How many of the likeliest tokens are reported beside the sampled one; -1: none.
  std::int32_t prompt_logprobs = -1;
  troupe::pooling pooling = troupe::pooling::none; ///< Otherwise its hidden states are pooled, and no token is sampled.
  std::vector<token_bias> logit_bias;
  std::vector<token_id> allowed_tokens;         ///< Empty: all.
  std::vector<std::vector<token_id>> bad_words; ///< A token that would complete one of these is not sampled.
  std::vector<token_id> end_tokens;             ///< End this sequence: its stop tokens, and the model's unless ignored.
  bool operator==(const sequence_sampling&) const = default;

  /// Whether sampling looks at the tokens so far, so that the worker must know them all, computed by it or not.
  bool needs_history() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f || !bad_words.empty();
  }
};

} // namespace troupe
