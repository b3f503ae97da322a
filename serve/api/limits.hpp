// What bounds the body of one HTTP request, in one place; how many bytes it may have is for serve/http, and what a
// request may ask of the engine for protocol/limits.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::serve {

inline constexpr std::size_t max_body_nesting = 64;            ///< Lists and objects in each other.
inline constexpr std::size_t max_body_values = 1u << 20;       ///< Lists, objects, their keys, and strings.
inline constexpr std::size_t max_body_numbers = 8u << 20;      ///< Beside them; mostly token ids.
inline constexpr std::size_t max_prompts = 1024;               ///< In one body.
inline constexpr std::size_t max_answers = 4096;               ///< Of all prompts of one body together.
inline constexpr std::uint32_t default_completion_tokens = 16; ///< max_tokens of /v1/completions, as OpenAI has it.
inline constexpr float lowest_shown_logprob = -9999.0f;        ///< JSON has no infinity.

} // namespace troupe::serve
