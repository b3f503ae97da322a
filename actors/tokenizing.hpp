#pragma once

#include <deque>

#include "actors/interfaces.hpp"

namespace troupe {

inline constexpr std::size_t encoding_slice_bytes = 16u << 10; ///< About ten milliseconds at the slowest.

struct tokenizing_state {
  tokenizing_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  struct job {
    encoder text;
    prompt_tokens prefix;
    encoded_prompt result; ///< All but its tokens.
    caf::typed_response_promise<expected<encoded_prompt>> promise;
  };

  std::shared_ptr<const model> source;
  std::uint32_t context_length = 0; ///< No prompt of more tokens is encoded to its end.
  std::deque<job> jobs;             ///< Served in turn, a slice each.
  static inline const char* name = "tokenizer";
};

tokenizer_actor::behavior_type tokenizing(tokenizer_actor::stateful_pointer<tokenizing_state> self,
                                          std::shared_ptr<const model> source, std::uint32_t context_length);

} // namespace troupe
