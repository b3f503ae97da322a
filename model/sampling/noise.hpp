// The noise of a token: standard Gumbel, drawn from (seed, choice, position, token) and from nothing else.
//
// The token with the largest logit / temperature + noise is a sample of the softmax. So a sequence's tokens depend on
// its request and the model alone: not on the batch, nor on how often a step was repeated, nor on whether the
// position was a guess of speculative decoding.
//
// exp(-noise) has a standard exponential distribution, and it is drawn from above for 32 tokens together: the least of
// 32 is 1/32 of an exponential, whose it is is uniform, and each other is the least and one more exponential. So one
// draw tells how large the noise of 32 tokens is at most, which refuses nearly all of them.
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

inline constexpr std::uint32_t noise_block_tokens = 32;

/// mix() of what stands for a block of tokens and for no token.
constexpr std::uint64_t mix_block(std::uint64_t block) {
  return mix(block | std::uint64_t{1} << 63);
}

/// What the noise of a block's tokens has in common.
class block_noise {
public:
  /// mixed: mix_block(block).
  block_noise(std::uint64_t key, std::uint64_t mixed);
  /// That of the token that has the largest.
  double largest() const;
  /// That of a token of this block.
  double of(token_id token) const;

private:
  std::uint64_t key_;
  double least_;        ///< exp(-noise)
  std::uint32_t whose_; ///< Index in the block.
};

double gumbel_noise(const sequence_sampling& sampling, std::uint32_t position, token_id token);

/// No noise is larger: the uniform draw has 52 bits.
inline constexpr double max_gumbel_noise = 40.5;

/// The index of the largest logit; the lowest of equals.
token_id argmax(std::span<const float> logits);

/// A token by temperature alone, with no workspace; of finite logits. `sequence_sampler` does more, faster, and gives
/// the same token where it is asked for no more.
token_id sample(std::span<const float> logits, const sequence_sampling& sampling, std::uint32_t position);

} // namespace troupe
