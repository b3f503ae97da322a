// A worker's part in moving blocks between its device and elsewhere.
#pragma once

#include <span>

#include "actors/messages.hpp"

namespace troupe {

expected<block_contents> read_blocks(const backend& device, std::span<const block_place> places);

/// Errors: internal (contents have a wrong size, or none are there; then no block is changed).
expected<void> write_blocks(backend& device, const block_contents& contents);

// A block of several workers is the parts of each, one after the other.

/// parts: the same blocks in the same order, of each worker. Errors: internal (they are not).
expected<block_contents> join_blocks(const std::vector<block_contents>& parts);

/// What each worker has of them. workers: for their block_bytes. Errors: internal (contents have a wrong size).
expected<std::vector<block_contents>> split_blocks(const block_contents& contents,
                                                   std::span<const worker_info> workers);

} // namespace troupe
