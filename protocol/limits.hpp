// Every limit of the wire protocol: name, unit and value in one place. docs/protocol.md repeats them for authors of
// clients; a unit test compares the two.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe {

inline constexpr std::uint32_t protocol_version = 1;

inline constexpr std::size_t max_frame_bytes = 64u << 20;
inline constexpr std::size_t max_frame_nesting = 64;
inline constexpr std::size_t max_map_fields = 32;                ///< In one map of a frame.
inline constexpr std::size_t max_frame_values = 32768;           ///< In one frame; token ids are counted apart.
inline constexpr std::size_t max_string_bytes = 32u << 20;       ///< One prompt, or all message texts together.
inline constexpr std::size_t max_prompt_tokens = 4u << 20;       ///< Token ids in one request.
inline constexpr std::size_t max_chat_messages = 4096;
inline constexpr std::size_t max_role_bytes = 64;
inline constexpr std::size_t max_stop_strings = 16;
inline constexpr std::size_t max_stop_bytes = 256;               ///< Each stop string.
inline constexpr float min_temperature = 1e-6f;                  ///< Other than 0, which is greedy.
inline constexpr float max_temperature = 100.0f;
inline constexpr std::size_t max_error_bytes = 4096;             ///< Of an error's sentence on the wire; cut beyond.
inline constexpr std::uint32_t max_requests_per_client = 1024;   ///< Open at once on one connection.
inline constexpr std::uint32_t max_queued_frames = 16384;        ///< Waiting for one client that does not read.
inline constexpr std::uint32_t keepalive_ms = 10000;             ///< Of silence, until the server sends a pong 0.
inline constexpr std::uint32_t ping_interval_ms = 10000;         ///< How often a client had better ping.

} // namespace troupe
