// Messages to bytes and back. Every frame is one msgpack map: "type" names the struct of protocol/messages.hpp, and
// the other keys are its fields by name. docs/protocol.md is the specification, and is enough to write a client from.
//
// Encoding cannot fail. Decoding trusts nothing: an unknown, missing, doubled or mistyped field, a number out of
// range, text that is not UTF-8, NaN and infinity, extension types, bytes after the map and whatever is over a limit
// of protocol/limits.hpp is an error whose sentence names the field. Memory is taken for bytes that are there, never
// for a length that a header claims: decoding takes at most about 6 times the frame's size, plus 4 MiB.
//
// Threads: plain functions without state. Source of the format: the msgpack specification (github.com/msgpack).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// The same message gives the same bytes, always: fields in the order of the struct without those that have their
/// defaults, integers in their shortest form.
std::string encode(const client_message& message);

/// An error's sentence is cut to `max_error_bytes`, and what is not UTF-8 in it is replaced.
std::string encode(const server_message& message);

/// The frames of what goes to one client at once. Deltas and ends that stand together, in a step_deltas or not,
/// become one step_deltas, or several where that would be over `max_step_bytes` or `max_frame_values`; one that is
/// alone, and every other message, is a frame of its own. Made once for a connection's socket: it keeps its memory.
class delivery_encoder {
public:
  /// `messages` must not change before `next` has given nothing.
  void begin(std::span<const server_message> messages) {
    left_ = messages;
    within_ = 0;
  }

  /// The next frame, valid until the call after; nothing when all have been given.
  std::optional<std::string_view> next();

private:
  void collect();
  bool take(std::size_t bytes, std::size_t values);
  bool take(const token_delta& delta);
  bool take(const request_end& end);
  bool take(const step_deltas& step);

  std::span<const server_message> left_;
  std::size_t within_ = 0;                 ///< How many parts of the step_deltas in front are in earlier frames.
  std::vector<const token_delta*> deltas_; ///< Of the next frame.
  std::vector<const request_end*> ends_;
  std::size_t bytes_ = 0; ///< About.
  std::size_t values_ = 0;
  std::string storage_;
};

struct decode_error {
  error failure;
  /// Set where the frame is a generate_request whose id could be read, although something else in it is wrong: that
  /// request can be ended with a request_end, unless one with this id is open. Otherwise answer a protocol_error.
  std::optional<request_id> id;
};

template <class T>
using decoded = tl::expected<T, decode_error>;

/// For the server. A generate_request that comes back has passed `validate` (protocol/validate.hpp). A hello of
/// another version comes back with nothing but that version, whatever else it says: `check_version` refuses it.
decoded<client_message> decode_client(std::string_view frame);

/// For the client.
expected<server_message> decode_server(std::string_view frame);

} // namespace troupe
