// The processors that change logits before temperature; model/sampling/sampler.hpp has their order and their meaning.
//
// All are functions of a row (or a part of one, where several ranks share it) and what they are given; ids outside are
// passed by: they are of another part (`check_tokens` refuses those of none when a request comes). What one does to a
// token's logit does not depend on other logits, so parts become what they are in the whole row. A masked token's logit
// is -infinity, which no later processor changes.
#pragma once

#include <cstdint>
#include <span>

#include "engine/sequence_sampling.hpp"
#include "model/sampling/history.hpp"

namespace troupe::sampling {

/// Bit i of word w: token 32 w + i. Tokens beyond the words are not allowed.
using token_mask = std::span<const std::uint32_t>;

/// The logits of the tokens from `first` on, a multiple of 32.
struct processed_part {
  std::span<float> logits;
  token_id first = 0;
};

/// row = the logits of the allowed tokens, and -infinity elsewhere. Empty spans allow all. logits: of the same tokens.
void allow(std::span<const float> logits, std::span<const token_id> tokens, token_mask mask, processed_part row);
void ban_words(std::span<const std::vector<token_id>> words, const token_history& history, processed_part row);
void ban(std::span<const token_id> tokens, processed_part row);
void add_bias(std::span<const token_bias> biases, processed_part row);
void penalise(const sequence_sampling& sampling, const token_history& history, processed_part row);

} // namespace troupe::sampling
