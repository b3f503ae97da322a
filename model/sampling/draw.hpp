// The token that has the largest logit / temperature + noise (model/sampling/noise.hpp), of a whole row or of some of
// it.
//
// Almost no token's noise is computed. The likeliest token's comes first; another can be over it only where its block's
// largest noise is large enough, which one comparison for 32 tokens refuses for most. The result is the same as that of
// computing all, by the same float64 operations.
#pragma once

#include <cstdint>
#include <span>

#include "engine/sequence_sampling.hpp"
#include "model/sampling/survivors.hpp"
#include "model/sampling/workspace.hpp"

namespace troupe::sampling {

/// row: its largest value is `largest`, finite; `room.block_largest` is that of the row, and may be lost.
/// left: what survivors_of() left of the row, in the same workspace. `key`: of noise.hpp.
token_id draw(std::span<const float> row, float largest, const survivors& left, float temperature, std::uint64_t key,
              sampling_workspace& room);

} // namespace troupe::sampling
