// Logprobs in the shapes of the two APIs. A token is shown as its bytes; what of them is not UTF-8 as U+FFFD.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.hpp"
#include "protocol/messages.hpp"
#include "serve/api/json_body.hpp"

namespace troupe::serve {

/// The entries of `logprobs.content` of a chat: token, logprob, bytes and top_logprobs.
json chat_logprobs(const tokenizer& tokens, std::span<const token_logprob> logprobs);

/// vLLM's `prompt_logprobs`: null for the first token, then for each an object with token ids as keys, at most
/// `count` of the likeliest and the token itself.
json prompt_logprobs(const tokenizer& tokens, std::span<const token_logprob> logprobs, std::int32_t count);

/// The lists of a completion's `logprobs`, a part of an answer at a time.
class completion_logprobs {
public:
  completion_logprobs(std::shared_ptr<const tokenizer> tokens, std::int32_t count)
      : tokens_(std::move(tokens)), count_(static_cast<std::size_t>(count)) {}

  /// A token without a logprob: the first of a prompt.
  void add(std::string_view text);
  void add(std::span<const token_logprob> logprobs);

  /// What was added since the last time. `text_offset` goes on over all parts, in code points.
  json take();

private:
  void add_text(std::string text, bool special);

  std::shared_ptr<const tokenizer> tokens_;
  std::size_t count_; ///< Of the likeliest tokens; the chosen one is shown beside them.
  std::size_t offset_ = 0;
  json texts_ = json::array(), logprobs_ = json::array(), top_ = json::array(), offsets_ = json::array();
};

} // namespace troupe::serve
