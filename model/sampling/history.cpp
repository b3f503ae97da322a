#include "model/sampling/history.hpp"

#include <algorithm>

namespace troupe::sampling {

token_history::token_history(std::uint32_t prompt_tokens, std::span<const token_id> tokens)
    : prompt_tokens_(prompt_tokens) {
  tokens_.reserve(tokens.size());
  for (const auto token : tokens)
    append(token);
}

void token_history::append(token_id token) {
  tokens_.push_back(token);
  ++count_of(tokens_.size() - 1);
}

void token_history::truncate(std::size_t length) {
  while (tokens_.size() > length) {
    --count_of(tokens_.size() - 1);
    tokens_.pop_back();
  }
}

bool token_history::answer_ends_with(std::span<const token_id> tokens) const {
  const std::size_t answer = tokens_.size() - std::min<std::size_t>(tokens_.size(), prompt_tokens_);
  return tokens.size() <= answer &&
         std::equal(tokens.begin(), tokens.end(), tokens_.end() - static_cast<std::ptrdiff_t>(tokens.size()));
}

std::uint32_t& token_history::count_of(std::size_t position) {
  const auto token = tokens_[position];
  const auto [at, is_new] = index_.try_emplace(token, static_cast<std::uint32_t>(entries_.size()));
  if (is_new)
    entries_.push_back({token, 0, 0});
  auto& e = entries_[at->second];
  return position < prompt_tokens_ ? e.in_prompt : e.in_answer;
}

} // namespace troupe::sampling
