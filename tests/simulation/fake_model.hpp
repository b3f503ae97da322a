// The model of a simulated world: the next token is a hash of all tokens before it, of the request's seed and of the
// answer's number among the request's answers. So a token from wrong rows, wrong blocks or a lost step is a wrong
// token, and the right ones are known without an engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

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

  /// The token after those that were fed. One in thirty-two is the end, where it may come.
  token_id next(std::uint32_t vocabulary, bool may_end) const {
    const auto h = (hash_ ^ (hash_ >> 29)) * 0xbf58476d1ce4e5b9u >> 20;
    if (may_end && h % 32 == 0)
      return end_token;
    return first_plain_token + static_cast<token_id>(h / 32 % (vocabulary - first_plain_token));
  }

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

/// What a sequence with this sampling gets as token `index` of its answer.
token_id next_token(const fake_model& model, const sequence_sampling& sampling, std::uint32_t index);

struct right_answer {
  std::vector<token_id> tokens;
  finish_reason reason = finish_reason::length;
  float mean_logprob = 0;
};

/// What a request must bring if nobody cancels it. `capacity` is how many tokens prompt and answer may have together.
right_answer right_answer_to(const generate_request& request, std::span<const token_id> prompt, std::uint32_t choice,
                             std::uint32_t capacity);

/// The answers that are given, in their order: the first n, or the n best of those that are generated.
std::vector<right_answer> given_answers(const generate_request& request, std::vector<right_answer> generated);

/// The ids of any prompt, by the tokenizer itself and no actor.
std::vector<token_id> ids_of(const prompt& what);

} // namespace troupe::simulated
