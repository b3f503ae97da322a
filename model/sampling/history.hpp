// The tokens of one sequence so far, with how often each occurs: for penalties and bad words.
//
// Owner: the sequence's sampler. Accepting a token costs a look-up; memory is 4 bytes for each token and about 50 for
// each different one.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe::sampling {

class token_history {
public:
  struct entry {
    token_id token = 0;
    std::uint32_t in_prompt = 0, in_answer = 0; ///< Both 0 for a token that was taken back.
  };

  token_history() = default;
  /// `tokens` begin with the prompt's `prompt_tokens`; the rest are of the answer.
  token_history(std::uint32_t prompt_tokens, std::span<const token_id> tokens);

  void append(token_id token);
  /// Takes tokens back until `length` are left.
  void truncate(std::size_t length);
  std::size_t size() const { return tokens_.size(); }

  /// Each different token once.
  std::span<const entry> entries() const { return entries_; }
  /// Whether the answer (not prompt and answer) ends with `tokens`.
  bool answer_ends_with(std::span<const token_id> tokens) const;

private:
  std::uint32_t& count_of(std::size_t position);

  std::uint32_t prompt_tokens_ = 0;
  std::vector<token_id> tokens_;
  std::vector<entry> entries_;
  std::unordered_map<token_id, std::uint32_t> index_; ///< Of a token in `entries_`.
};

} // namespace troupe::sampling
