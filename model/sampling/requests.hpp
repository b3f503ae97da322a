// What is asked of a backend that samples by itself, and what it answers: of each row of logits at most one token, as sequence_sampler
// and logprob_of (model/sampling/) would have it from the same logits, bit for bit.
#pragma once

#include <cstdint>

#include "engine/sequence_sampling.hpp"
#include "engine/step.hpp"
#include "model/sampling/history.hpp"

namespace troupe {

/// What it points to must stay as it is until the backend has answered.
struct sampling_request {
  std::uint32_t logits = 0; ///< Index in `forward_batch::logit_rows`.
  const sequence_sampling* parameters = nullptr;
  std::uint32_t position = 0;      ///< Of the token, in its sequence.
  std::uint32_t prompt_tokens = 0; ///< Of the sequence.
  const sampling::token_history* history =
    nullptr;                 ///< Of the `position` tokens before it, where the parameters need one.
  token_id given = no_token; ///< Of a prompt: it is judged, and nothing is sampled; no_token: one is sampled.

  /// How many of the likeliest tokens are wanted beside it, with its own logprob; -1: no logprobs.
  std::int32_t logprobs() const { return given == no_token ? parameters->logprobs : parameters->prompt_logprobs; }
};

struct chosen_token {
  expected<token_id> token =
    no_token;              ///< Errors: those of `sequence_sampler::sample`; of one that is given, of `logprob_of`.
  token_logprob logprob{}; ///< Where it is wanted, and there is a token.
};

} // namespace troupe
