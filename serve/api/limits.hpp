// What bounds the body of one HTTP request, in one place; how many bytes it may have is for serve/http, how
// they may be nested for model/strict_json.hpp, and what a request may ask of the engine for protocol/limits.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::serve {

inline constexpr std::size_t max_prompts = 1024; ///< In one body.
inline constexpr std::size_t max_answers = 4096; ///< Of all prompts of one body together.
inline constexpr std::size_t max_repeated_values =
  1u << 20;                                   ///< Token ids, biases and words, once for each prompt of one body.
inline constexpr std::size_t max_tools = 128; ///< Functions that one body offers.
inline constexpr std::size_t max_function_name_bytes = 64;
inline constexpr std::uint32_t default_completion_tokens = 16; ///< max_tokens of /v1/completions, as OpenAI has it.
inline constexpr std::size_t max_tokenize_bytes = 4u << 20;    ///< Of a text for /tokenize, which answers at once.
inline constexpr float lowest_shown_logprob = -9999.0f;        ///< JSON has no infinity.

} // namespace troupe::serve
