// What an engine and its workers in other processes say to each other, as bytes.
//
// Both ends are of one build and on one machine: no version, no byte order, floats as they lie in memory. All fields
// survive bit for bit. What two sequences that join one after the other share, they share again; null stays null.
//
// Damaged bytes are refused or decode to something else. They never break the process, and take memory of at most a
// small multiple of their size. What the values mean is not looked at: a step may still name slots, blocks and tokens
// that are not there, as one from a faulty scheduler may.
//
// A steady step takes about three bytes a sequence.
//
// Threads: any; these are plain functions.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <vector>

#include "actors/messages.hpp"
#include "engine/step.hpp"
#include "protocol/error.hpp"

namespace troupe {

using wire_bytes = std::vector<std::byte>;

template <class T, class... Others>
concept one_of = (std::same_as<T, Others> || ...);

/// What is asked of workers, and what they answer.
template <class T>
concept worker_message =
  one_of<T, step_changes, step_outcome, step_tokens, expected<worker_info>, std::vector<block_place>, block_contents,
         expected<block_contents>, expected<nothing>>;

template <worker_message T>
wire_bytes encode(const T& message);

/// `decode<step_changes>(bytes)`. Errors: malformed (damaged bytes, or those of another message; says where and what).
template <worker_message T>
expected<T> decode(std::span<const std::byte> bytes);

} // namespace troupe
