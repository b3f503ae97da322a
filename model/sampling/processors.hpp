// The processors that change logits before temperature; model/sampling/sampler.hpp has their order and their meaning.
//
// All are functions of a row and what they are given; ids outside the row are passed by (`check_tokens` refuses them
// when a request comes). A masked token's logit is -infinity, which no later processor changes.
#pragma once

#include <cstdint>
#include <span>

#include "engine/sequence_sampling.hpp"
#include "model/sampling/history.hpp"

namespace troupe::sampling {

/// Bit i of word w: token 32 w + i. Tokens beyond the words are not allowed.
using token_mask = std::span<const std::uint32_t>;

/// row = the logits of the allowed tokens, and -infinity elsewhere. Empty spans allow all.
void allow(std::span<const float> logits, std::span<const token_id> tokens, token_mask mask, std::span<float> row);
void ban_words(std::span<const std::vector<token_id>> words, const token_history& history, std::span<float> row);
void ban(std::span<const token_id> tokens, std::span<float> row);
void add_bias(std::span<const token_bias> biases, std::span<float> row);
void penalise(const sequence_sampling& sampling, const token_history& history, std::span<float> row);

} // namespace troupe::sampling
