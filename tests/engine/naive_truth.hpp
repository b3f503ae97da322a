// What a sequence's tokens are, whatever a planner does: the model of these tests is a hash of all tokens before.
//
// The KV of a position is the chain of hashes up to it, so that KV of other tokens, of another adapter or of another
// position is told apart. The token after it depends on the chain and on the sequence's own seed and choice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/planner.hpp"

namespace troupe::test {

struct broken_promise : std::runtime_error {
  using runtime_error::runtime_error;
};

inline void must(bool holds, const char* what) {
  if (!holds)
    throw broken_promise(what);
}

inline void must(bool holds, sequence_id id, const char* what) {
  if (!holds)
    throw broken_promise("sequence " + std::to_string(id) + " " + what);
}

inline void must(const expected<void>& right) {
  if (!right)
    throw broken_promise("integrity: " + right.error().message);
}

using chain = std::uint64_t;

inline chain mixed(chain a, std::uint64_t b) {
  a = (a ^ b) * 0x9e3779b97f4a7c15u;
  return a ^ (a >> 29);
}

inline chain chain_before(std::uint64_t adapter) {
  return mixed(1, adapter);
}
inline chain chain_after(chain before, token_id token) {
  return mixed(before, static_cast<std::uint64_t>(token) + 7);
}

inline constexpr token_id vocabulary = 40;

/// The token with this index in an answer, after a token whose KV is `at`.
inline token_id sample_after(chain at, const sequence_sampling& sampling, std::uint32_t index) {
  auto token = static_cast<token_id>(mixed(mixed(at, sampling.seed), sampling.choice) >> 8) & 0xffff;
  const auto& ends = sampling.end_tokens;
  for (token %= vocabulary; index < sampling.min_tokens && std::count(ends.begin(), ends.end(), token) > 0;)
    token = (token + 1) % vocabulary;
  return token;
}

/// All tokens of one sequence, also those that would follow its end.
class truth {
public:
  truth() = default;
  explicit truth(const new_sequence& request)
      : tokens_(*request.prompt), sampling_(request.sampling), prompt_(tokens_.size()),
        adapter_(request.key.adapter) {}

  token_id token(std::size_t position) {
    extend(position);
    return tokens_[position];
  }
  chain at(std::size_t position) {
    extend(position);
    return chains_[position];
  }

  /// What pooling the prompt's chains comes to.
  chain pooled(pooling how) {
    chain result = 0;
    for (std::size_t position = 0; position < prompt_; ++position)
      result = pooled_with(how, result, at(position));
    return result;
  }
  /// One row more. What is pooled by `mean` depends on every row and on their order.
  static chain pooled_with(pooling how, chain before, chain row) {
    return how == pooling::mean ? mixed(before, row) : row;
  }

private:
  void extend(std::size_t position) {
    while (chains_.size() <= position) {
      const auto next = chains_.size();
      if (next == tokens_.size())
        tokens_.push_back(sample_after(chains_.back(), *sampling_, static_cast<std::uint32_t>(next - prompt_)));
      chains_.push_back(chain_after(next > 0 ? chains_.back() : chain_before(adapter_), tokens_[next]));
    }
  }

  std::vector<token_id> tokens_;
  std::vector<chain> chains_;
  shared_sampling sampling_;
  std::size_t prompt_ = 0;
  std::uint64_t adapter_ = 0;
};

/// As an embedding.
inline std::vector<float> values_of(chain pooled) {
  return {static_cast<float>(pooled >> 44), static_cast<float>(pooled >> 24 & 0xfffff),
          static_cast<float>(pooled & 0xffffff)};
}

/// The oldest position that a row at `position` sees.
inline std::uint32_t oldest_seen(std::uint32_t position, std::uint32_t window) {
  return window > 0 && position + 1 > window ? position + 1 - window : 0;
}

} // namespace troupe::test
