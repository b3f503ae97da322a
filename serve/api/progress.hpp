// How far the requests of one call are: how many have ended, what they used, and what went wrong first. Every call has
// one; what the answers say is the call's own.
#pragma once

#include <cstddef>
#include <vector>

#include "model/tokenizer/tokenizer.hpp"
#include "protocol/messages.hpp"
#include "serve/api/json_body.hpp"

namespace troupe::serve {

class call_progress {
public:
  explicit call_progress(std::size_t requests) : open_(requests) {}

  /// A request's one end. The first that failed decides how the call ends.
  void end(const request_end& end);

  /// Of an answer that has ended: how many of its tokens were thoughts.
  void count_thoughts(std::uint32_t tokens) { thought_tokens_ += tokens; }

  bool ended() const { return open_ == 0; }
  bool failed() const { return failure_.code != errc::none; }
  const error& failure() const { return failure_; }

  const usage_counts& used() const { return used_; } ///< Of all that have ended.
  std::uint64_t thought_tokens() const { return thought_tokens_; }

private:
  std::size_t open_;
  usage_counts used_;
  std::uint64_t thought_tokens_ = 0;
  error failure_{errc::none, {}};
};

/// OpenAI's `usage`.
json usage_json(const call_progress& progress);

/// vLLM's `stop_reason`: the stop string, or the stop token's id; null where an answer ended otherwise, by the model's
/// own end too.
json stop_reason_json(const stop_cause& cause, const tokenizer& tokens);

/// How each answer ended; of a request with one answer, too.
std::vector<choice_end> ends_of(const request_end& end);

} // namespace troupe::serve
