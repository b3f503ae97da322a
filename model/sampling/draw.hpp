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

struct drawn_token {
  token_id token = 0;
  double score = 0; ///< logit / temperature + noise
};

/// row: its largest value is `largest`, finite; `room.block_largest` is that of the row, and may be lost.
/// left: what survivors_of() left of the row, in the same workspace. `key`: of noise.hpp.
/// first: the token of the row's first value, a multiple of 32; 0 where `left` has a limit of ids.
drawn_token draw(std::span<const float> row, token_id first, float largest, const survivors& left, float temperature,
                 std::uint64_t key, sampling_workspace& room);

/// The same of `room.kept`, which has some tokens, and whose ids are tokens.
drawn_token draw_kept(float temperature, std::uint64_t key, sampling_workspace& room);

} // namespace troupe::sampling
