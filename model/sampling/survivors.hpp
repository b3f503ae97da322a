// The tokens that min-p, top-k, top-p and typical-p leave of a row, in that order; model/sampling/sampler.hpp says
// what each keeps.
//
// No vocabulary is sorted. What is at least the k-th largest of the blocks' maxima holds the k largest tokens, and
// mostly few more; those are collected and looked at alone. For shares of probability it is tried whether few tokens
// have enough of it. Where they have not, a histogram finds the interval in which the cut is, and only that is looked
// at. Nothing in the result depends on which way was taken.
#pragma once

#include <span>

#include "engine/sequence_sampling.hpp"
#include "model/sampling/selection.hpp"
#include "model/sampling/workspace.hpp"

namespace troupe::sampling {

/// log2(e) / temperature: what turns differences of logits into exponents of 2.
float exponent_scale(float temperature);

/// The exponent of the least weight that min-p, over 0, keeps.
float least_exponent(float min_p);

/// Of a value: t of kernels.hpp, at least -126.
float exponent_of(float value, float largest, float scale);

/// Which tokens are left: those in a workspace's `kept`, or those of the row that keeps() says.
struct survivors {
  enum class form { row, kept, over_cut, near_centre };
  form as = form::row;
  cut limit{}; ///< Of values, or of minus the distances |t - centre|.
  float centre = 0;
  float largest = 0, scale = 0; ///< Of t.
  token_id some = 0;            ///< One of those left.

  bool keeps(float value, token_id id) const;
};

/// What is left of a row, at least one token.
/// row: its largest value is `largest`, finite; `room.block_largest` is that of the row.
survivors survivors_of(const sequence_sampling& sampling, std::span<const float> row, float largest,
                       sampling_workspace& room);

/// Makes what top-k alone would leave of a row `room.kept`; ids are indices in the row. What it leaves of a row's parts
/// holds what it leaves of the row: who is among the k first there is so in its part.
void keep_top_k(std::uint32_t k, std::span<const float> row, float largest, sampling_workspace& room);

/// The same as survivors_of(), where `room.kept` has the `top_k` first tokens of a row (and may have others): leaves there
/// what is left. `sampling.top_k` is not 0.
void survivors_of_kept(const sequence_sampling& sampling, float largest, sampling_workspace& room);

} // namespace troupe::sampling
