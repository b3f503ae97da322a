// Sampling as model/sampling/sampler.hpp describes it, written plainly: everything in float64, every order sorted,
// every token's noise computed. It shares only gumbel_noise() with what it is compared with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence_sampling.hpp"

namespace troupe::tests {

struct reference_input {
  std::span<const float> logits;
  const sequence_sampling& sampling;
  std::uint32_t prompt_tokens = 0;
  std::span<const token_id> history; ///< Its length is the position.
  std::vector<bool> mask;            ///< Empty: all.
};

struct reference_result {
  token_id token = -1;    ///< -1: none is left.
  std::vector<bool> left; ///< By token, what step 11 has to choose from.
  bool is_close = false;  ///< A cut is so near to where it would be another that float32 weights may decide.
};

reference_result sample_by_reference(const reference_input& input);

/// Steps 1 to 5.
std::vector<float> process_by_reference(const reference_input& input);

} // namespace troupe::tests
