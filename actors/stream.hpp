#pragma once

#include <chrono>
#include <unordered_map>

#include "actors/interfaces.hpp"
#include "actors/watch_list.hpp"
#include "model/answer_text.hpp"

namespace troupe {

/// What a stream works with; all of it belongs to others.
struct stream_context {
  std::shared_ptr<const model> source;
  router_actor router;
  tokenizer_actor tokenizer;
  client_actor client;
  connection_id connection = 0;
};

struct stream_state {
  stream_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  /// All that is known of one request.
  struct journal {
    generate_request request; ///< Its prompt is moved to the tokenizer.
    std::optional<ticket> admitted;
    scheduler_actor scheduler; ///< Invalid until it is placed.
    bool encoding = false;     ///< At the tokenizer now.
    std::uint32_t prompt_tokens = 0;
    std::vector<token_id> tokens;
    std::unique_ptr<answer_text> text;
    std::chrono::steady_clock::time_point begun;
    double first_token_ms = 0;
  };

  stream_context context;
  std::unordered_map<request_id, journal> journals;
  std::unordered_map<sequence_id, request_id> sequences;
  watch_list schedulers;
  static inline const char* name = "stream";
};

stream_actor::behavior_type stream(stream_actor::stateful_pointer<stream_state> self, stream_context context);

} // namespace troupe
