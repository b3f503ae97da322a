#include "model/sampling/processors.hpp"

#include <algorithm>
#include <limits>

namespace troupe::sampling {

namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

/// The logit of a token, or null for one that the row has not.
float* at(processed_part row, token_id token) {
  const auto index = std::int64_t{token} - row.first;
  return index >= 0 && static_cast<std::size_t>(index) < row.logits.size()
           ? &row.logits[static_cast<std::size_t>(index)]
           : nullptr;
}

bool has(token_mask mask, std::size_t token) {
  return token / 32 < mask.size() && (mask[token / 32] >> (token % 32) & 1) != 0;
}

void allow_masked(token_mask mask, std::span<float> row) {
  for (std::size_t from = 0; from < row.size(); from += 32) {
    const auto word = from / 32 < mask.size() ? mask[from / 32] : 0;
    const auto part = row.subspan(from, std::min<std::size_t>(32, row.size() - from));
    if (word == 0)
      std::fill(part.begin(), part.end(), masked);
    else if (word != 0xffffffffu)
      for (std::size_t i = 0; i < part.size(); ++i)
        part[i] = word >> i & 1 ? part[i] : masked;
  }
}

} // namespace

void allow(std::span<const float> logits, std::span<const token_id> tokens, token_mask mask, processed_part row) {
  if (tokens.empty()) {
    std::copy(logits.begin(), logits.end(), row.logits.begin());
    if (!mask.empty())
      allow_masked(mask.subspan(std::min(mask.size(), static_cast<std::size_t>(row.first) / 32)), row.logits);
    return;
  }
  std::fill(row.logits.begin(), row.logits.end(), masked);
  for (const auto token : tokens)
    if (auto* logit = at(row, token); logit && (mask.empty() || has(mask, static_cast<std::size_t>(token))))
      *logit = logits[static_cast<std::size_t>(token - row.first)];
}

void ban_words(std::span<const std::vector<token_id>> words, const token_history& history, processed_part row) {
  for (const auto& word : words) {
    if (word.empty())
      continue;
    const auto beginning = std::span(word).first(word.size() - 1);
    if (history.answer_ends_with(beginning))
      ban(std::span(word).last(1), row);
  }
}

void ban(std::span<const token_id> tokens, processed_part row) {
  for (const auto token : tokens)
    if (auto* logit = at(row, token); logit && *logit < -masked) // What is no number stays, and is reported.
      *logit = masked;
}

void add_bias(std::span<const token_bias> biases, processed_part row) {
  for (const auto& b : biases)
    if (auto* logit = at(row, b.token))
      *logit += b.bias;
}

void penalise(const sequence_sampling& sampling, const token_history& history, processed_part row) {
  for (const auto& seen : history.entries()) {
    auto* logit = at(row, seen.token);
    if (!logit || seen.in_prompt + seen.in_answer == 0)
      continue;
    if (sampling.repetition_penalty != 1.0f)
      *logit = *logit > 0.0f ? *logit / sampling.repetition_penalty : *logit * sampling.repetition_penalty;
    if (seen.in_answer == 0)
      continue;
    *logit -= sampling.frequency_penalty * static_cast<float>(seen.in_answer);
    *logit -= sampling.presence_penalty;
  }
}

} // namespace troupe::sampling
