// How likely a token was, and which tokens were likeliest.
#pragma once

#include <cstdint>
#include <span>

#include "model/sampling/workspace.hpp"

namespace troupe {

/// Of the model's own logits, before any processing: log-softmax, rank, and the `top` likeliest tokens; fewer where
/// the model excludes the others (logits of -infinity).
/// logits: one for each token of the workspace's vocabulary, of which `token` is one.
/// A logprob is within 1e-5 of the real number, or one part in a million where it is larger; the same bits on every
/// CPU.
/// Errors: internal where a logit is NaN or +infinity, or all are -infinity.
expected<token_logprob> logprob_of(std::span<const float> logits, token_id token, std::uint32_t top,
                                   sampling_workspace& room);

} // namespace troupe
