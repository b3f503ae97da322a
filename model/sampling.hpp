// From logits to a token.
//
// Sampling is Gumbel-max: the token with the largest logit / temperature + noise, where the noise of each token is
// drawn from (seed, choice, position, token) and from nothing else. So a sequence's tokens depend on its request and
// the model alone: not on the batch, nor on how often a step was repeated. Temperature 0 is greedy; ties go to the
// lowest id in both cases. Source: Gumbel (1954); Maddison et al., "A* Sampling" (2014).
#pragma once

#include <cstdint>
#include <span>

#include "engine/step.hpp"

namespace troupe {

/// logits: [vocabulary], finite. `position` is where the token will stand in the sequence.
token_id sample(std::span<const float> logits, const sequence_sampling& sampling, std::uint32_t position);

/// The index of the largest logit; the lowest of equals.
token_id argmax(std::span<const float> logits);

/// The noise of one token: standard Gumbel.
double gumbel_noise(const sequence_sampling& sampling, std::uint32_t position, token_id token);

/// No noise is larger: the uniform draw has 52 bits.
inline constexpr double max_gumbel_noise = 37.5;

} // namespace troupe
