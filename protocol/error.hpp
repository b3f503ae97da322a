// Errors as values, for every folder.
//
// A function that can fail for a reason outside this program returns `expected<T>`. The error carries a code, on
// which programs decide, and a sentence, which people read: what is wrong, and what to do about it. Exceptions are
// for our own bugs and never cross an actor's boundary.
//
// There is one enum, here and not one in each folder, because a code travels: what the model reader finds out is
// what a client reads in `request_end`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace troupe {

/// What kind of thing went wrong. The numbers are part of the wire protocol (docs/protocol.md): never renumber.
enum class errc : std::uint16_t {
  none = 0,
  invalid_argument = 1,     ///< A field has a value, a type or a combination that is not allowed.
  unknown_field = 2,        ///< A field that this version does not know. Nothing is accepted and ignored.
  context_overflow = 3,     ///< The prompt does not fit the model's context or the KV cache, now or ever.
  queue_full = 4,           ///< Too many requests wait already: try again later.
  cancelled = 5,            ///< The client asked for it, or went away.
  malformed = 6,            ///< Bytes that are not what they claim to be (msgpack, GGUF, JSON, UTF-8).
  limit_exceeded = 7,       ///< Well-formed, but over a documented limit.
  version_mismatch = 8,     ///< The peer speaks another version of the protocol.
  not_found = 9,            ///< No such file, model or request.
  unsupported = 10,         ///< Understood, but this build or model cannot do it.
  io = 11,                  ///< The operating system refused: reading, writing, mapping, sockets.
  out_of_memory = 12,       ///< Memory for weights, KV blocks or buffers could not be had.
  unavailable = 13,         ///< The engine is starting, stopping, or has given up after too many restarts.
  internal = 14,            ///< A bug of ours.
};

/// The code's stable name in snake_case, e.g. "context_overflow".
constexpr std::string_view to_string(errc code) {
  switch (code) {
    case errc::none: return "none";
    case errc::invalid_argument: return "invalid_argument";
    case errc::unknown_field: return "unknown_field";
    case errc::context_overflow: return "context_overflow";
    case errc::queue_full: return "queue_full";
    case errc::cancelled: return "cancelled";
    case errc::malformed: return "malformed";
    case errc::limit_exceeded: return "limit_exceeded";
    case errc::version_mismatch: return "version_mismatch";
    case errc::not_found: return "not_found";
    case errc::unsupported: return "unsupported";
    case errc::io: return "io";
    case errc::out_of_memory: return "out_of_memory";
    case errc::unavailable: return "unavailable";
    case errc::internal: return "internal";
  }
  return "internal";
}

struct error {
  errc code = errc::internal;
  std::string message;              ///< A sentence: what is wrong and what to do.
  std::uint32_t retry_after_ms = 0; ///< Trying again before this is of no use; 0: nothing is known of that.

  bool operator==(const error&) const = default;
};

template <class T>
using expected = tl::expected<T, error>;

/// `return fail(errc::not_found, "There is no file ...");`
inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error{code, std::move(message)});
}

} // namespace troupe
