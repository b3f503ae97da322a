// The noise of a token: standard Gumbel, drawn from (seed, choice, position, token) and from nothing else.
//
// The token with the largest logit / temperature + noise is a sample of the softmax. So a sequence's tokens depend on
// its request and the model alone: not on the batch, nor on how often a step was repeated, nor on whether the
// position was a guess of speculative decoding.
// Source: Gumbel (1954); Maddison et al., "A* Sampling" (2014); Steele, Lea, Flood, "Fast Splittable Pseudorandom
// Number Generators" (2014).
#pragma once

#include <cstdint>
#include <span>

#include "engine/sequence_sampling.hpp"

namespace troupe {

/// The finaliser of SplitMix64: every input bit changes every output bit with probability near one half.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// What all tokens' noise at one position has in common. `position` is where the token will stand in the sequence.
constexpr std::uint64_t noise_key(const sequence_sampling& sampling, std::uint32_t position) {
  return mix(mix(sampling.seed) ^ mix((std::uint64_t{sampling.choice} << 32) | position));
}

/// The noise of a token, given mix(token).
double noise_of(std::uint64_t key, std::uint64_t mixed_token);

double gumbel_noise(const sequence_sampling& sampling, std::uint32_t position, token_id token);

/// No noise is larger: the uniform draw has 52 bits.
inline constexpr double max_gumbel_noise = 37.5;

/// The index of the largest logit; the lowest of equals.
token_id argmax(std::span<const float> logits);

/// A token by temperature alone, with no workspace; of finite logits. `sequence_sampler` does more, faster, and gives
/// the same token where it is asked for no more.
token_id sample(std::span<const float> logits, const sequence_sampling& sampling, std::uint32_t position);

} // namespace troupe
