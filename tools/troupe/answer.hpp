// What came of one request, put together from its deltas.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "protocol/messages.hpp"

namespace troupe::cli {

struct answer {
  struct choice {
    std::string text;
    std::vector<token_id> tokens;
    std::vector<token_logprob> logprobs;
  };
  std::vector<choice> choices; ///< By their number.
  std::vector<token_logprob> prompt_logprobs;
  request_end end;

  /// Moves from all of it but its text.
  void take(token_delta& delta);
  /// The choice of this number, which is empty if nothing came of it.
  const choice& at(std::size_t index) const;
};

/// [{"token": 5, "logprob": -0.5, "rank": 1, "top": [{"token": 5, "logprob": -0.5}]}]
nlohmann::ordered_json json_of(const std::vector<token_logprob>& logprobs);

/// Adds what an answer is to `object`: of one choice its text and all else as fields, of several `choices`.
void describe(nlohmann::ordered_json& object, const generate_request& request, const answer& answer,
              bool with_tokens);

} // namespace troupe::cli
