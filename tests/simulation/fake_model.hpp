// The model of a simulated world: the next token is a hash of all tokens before it, of the request's seed and of the
// answer's number among the request's answers. So a token from wrong rows, wrong blocks or a lost step is a wrong
// token, and the right ones are known without an engine (right_answers.hpp).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/sequence_sampling.hpp"
#include "model/model.hpp"
#include "protocol/messages.hpp"

namespace troupe::simulated {

/// Of all worlds: a vocabulary of 269 tokens, the first three of them special, a context of 512.
std::shared_ptr<const model> tiny();

inline constexpr token_id end_token = 2; ///< <|im_end|>
inline constexpr token_id first_plain_token = 3;

/// A running hash of tokens.
class fake_model {
public:
  fake_model(std::uint64_t seed, std::uint32_t choice)
      : hash_((0xcbf29ce484222325u ^ seed) * 0x100000001b3u + choice * 0x9e3779b97f4a7c15u) {}

  void feed(token_id token) { hash_ = (hash_ ^ static_cast<std::uint32_t>(token)) * 0x100000001b3u; }

  /// What the next token is drawn from.
  std::uint64_t draw() const { return (hash_ ^ (hash_ >> 29)) * 0xbf58476d1ce4e5b9u >> 20; }

  /// Any number, and some tokens that might have come too. An exact fraction, so that sums do not depend on an order.
  token_logprob logprob(token_id token, std::int32_t top) const {
    const auto h = (hash_ ^ (hash_ >> 31) ^ static_cast<std::uint64_t>(token) * 0x9e3779b97f4a7c15u) * 0x94d049bb133111ebu;
    token_logprob result{token, -static_cast<float>(h >> 54) / 64.0f, 1, {}};
    for (std::int32_t i = 0; i < top; ++i)
      result.top.push_back({i == 0 ? token : i, result.logprob - static_cast<float>(i)});
    return result;
  }

private:
  std::uint64_t hash_;
};

/// What a sequence with this sampling gets after the tokens that the model was fed, of which `answer` are the last: one
/// in thirty-two is the end. What is excluded gives way to the next that is not; `no_token` if all are.
token_id next_token(const fake_model& model, const sequence_sampling& sampling, std::span<const token_id> answer);

} // namespace troupe::simulated
