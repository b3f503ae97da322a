// The token that has the largest logit / temperature + noise (model/sampling/noise.hpp), of a whole row or of some of
// it.
//
// Almost no token's noise is computed in full. The likeliest token's comes first; another can be over it only with a
// uniform draw so near to 1 that a comparison of integers refuses most of a block of 32 at once, and only what is
// left costs logarithms. The result is the same as that of computing all, by the same float64 operations.
#pragma once

#include <cstdint>
#include <span>

#include "engine/sequence_sampling.hpp"
#include "model/sampling/survivors.hpp"
#include "model/sampling/workspace.hpp"

namespace troupe::sampling {

/// row: its largest value is `largest`, finite; `room.block_largest` is that of the row, and is lost.
/// left: what survivors_of() left of the row, in the same workspace. `key`: of noise.hpp.
token_id draw(std::span<const float> row, float largest, const survivors& left, float temperature, std::uint64_t key,
              sampling_workspace& room);

} // namespace troupe::sampling
