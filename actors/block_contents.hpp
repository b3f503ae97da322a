// A worker's part in moving blocks between its device and elsewhere.
#pragma once

#include <span>

#include "actors/messages.hpp"

namespace troupe {

block_contents read_blocks(const backend& device, std::span<const block_place> places);

/// Errors: internal (contents have a wrong size, or none are there; then no block is changed).
expected<void> write_blocks(backend& device, const block_contents& contents);

} // namespace troupe
