// What the planner's files share.
#pragma once

#include "engine/step.hpp"

namespace troupe {

/// Looked up beyond the free places, so that the next one to be admitted is ready when a place comes free.
inline constexpr std::size_t spare_lookups = 4;

constexpr std::uint32_t blocks_for(std::uint32_t tokens) {
  return (tokens + tokens_per_block - 1) / tokens_per_block;
}

} // namespace troupe
