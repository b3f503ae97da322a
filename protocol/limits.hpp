// Every limit of the wire protocol: name, unit and value in one place. docs/protocol.md repeats them for authors of
// clients; a unit test compares the two.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe {

inline constexpr std::uint32_t protocol_version = 2;

inline constexpr std::size_t max_frame_bytes = 64u << 20;
inline constexpr std::size_t max_frame_nesting = 64;
inline constexpr std::size_t max_map_fields = 32;                ///< In one map of a frame.
inline constexpr std::size_t max_frame_values = 32768;           ///< In one frame, beside flat arrays of numbers.
inline constexpr std::size_t max_step_bytes = 1u << 20;          ///< About: a longer step becomes several frames.
inline constexpr std::size_t max_string_bytes = 32u << 20;       ///< One prompt, or all message texts together.
inline constexpr std::size_t max_prompt_tokens = 4u << 20;       ///< Token ids in one frame; numbers in arrays too.
inline constexpr std::size_t max_chat_messages = 4096;
inline constexpr std::size_t max_chat_variables = 64;            ///< Of a template, from one client.
inline constexpr std::size_t max_role_bytes = 64;
inline constexpr std::size_t max_stop_strings = 16;
inline constexpr std::size_t max_stop_bytes = 256;               ///< Each stop string.
inline constexpr float min_temperature = 1e-6f;                  ///< Other than 0, which is greedy.
inline constexpr float max_temperature = 100.0f;
inline constexpr float max_repetition_penalty = 100.0f;
inline constexpr float min_repetition_penalty = 0.01f;
inline constexpr float max_penalty = 2.0f;                       ///< Presence and frequency; -2 is the least.
inline constexpr float max_bias = 100.0f;                        ///< Of one token's logit; -100 is the least.
inline constexpr std::size_t max_logit_bias = 1024;              ///< Tokens with a bias.
inline constexpr std::size_t max_allowed_tokens = 65536;
inline constexpr std::size_t max_bad_words = 64;
inline constexpr std::size_t max_bad_word_bytes = 256;           ///< Each of them.
inline constexpr std::size_t max_stop_tokens = 64;
inline constexpr std::int32_t max_logprobs = 20;                 ///< Likeliest tokens that are told for each place.
inline constexpr std::uint32_t max_choices = 128;                ///< `n` and `best_of`.
inline constexpr std::int32_t max_priority = 1000;               ///< -1000 is the most urgent.
inline constexpr std::size_t max_salt_bytes = 256;
inline constexpr std::size_t max_error_bytes = 4096;             ///< Of an error's sentence on the wire; cut beyond.
inline constexpr std::uint32_t max_requests_per_client = 1024;   ///< Open at once on one connection.
inline constexpr std::uint32_t max_queued_frames = 16384;        ///< Waiting for one client that does not read.
inline constexpr std::uint32_t keepalive_ms = 10000;             ///< Of silence, until the server sends a pong 0.
inline constexpr std::uint32_t ping_interval_ms = 10000;         ///< How often a client had better ping.

} // namespace troupe
