// One msgpack frame as a small tree, built under limits. Internal to protocol/: others include codec.hpp.
//
// msgpack-cxx parses and calls a visitor; the visitor keeps what it is given only while the frame is sound and within
// its limits. After the first thing wrong it goes on without keeping anything, to find out what request the frame
// was about. Strings are views into the frame, so the tree must not outlive it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe::detail {

struct frame_field;
struct frame_value;

using frame_map = std::vector<frame_field>;
using frame_array = std::vector<frame_value>;
/// An array with nothing but integers, which in this protocol are always token ids: kept flat, and moved from.
using frame_integers = std::vector<token_id>;
/// An array with nothing but floats: logprobs. Finite; of 32 bits, as they are sent.
using frame_numbers = std::vector<float>;

struct nil {};
struct binary {};

/// Integers from 0 are `std::uint64_t` whatever form they had; `std::int64_t` is for those below. An empty array is
/// a `frame_array`. Floats are finite, strings valid UTF-8.
struct frame_value {
  std::variant<nil, bool, std::uint64_t, std::int64_t, double, std::string_view, binary, frame_integers,
               frame_numbers, frame_array, frame_map>
    data;
};

struct frame_field {
  std::string_view name;
  frame_value value;
  bool taken = false; ///< Set when a reader has asked for it; what is left over in the end is an unknown field.
};

struct frame {
  frame_map fields;
};

/// What could be read of a frame that is wrong somewhere. Each is set only where the frame has it exactly once.
struct frame_identity {
  std::optional<std::string_view> type;
  std::optional<request_id> id;
};

/// Fills `identity` whether or not the frame is sound.
expected<frame> read_frame(std::string_view bytes, frame_identity& identity);

/// "an integer", "a string" and so on, for sentences.
std::string_view describe(const frame_value& value);

} // namespace troupe::detail
