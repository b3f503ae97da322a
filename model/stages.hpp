// How a model is cut for pipeline parallelism: consecutive layers are a stage, and a stage hands its rows of `hidden`
// to the next one. Nothing is computed in another way for it: the logits have the same bits on any number of stages.
//
// It combines with tensor parallelism: each rank's program (model/sharding.hpp) is cut at the same layers. All ranks of
// a stage have the same `hidden` at its end, so all ranks of the next one may take it from any of them.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "model/backend.hpp"
#include "model/sharding.hpp"
#include "protocol/error.hpp"

namespace troupe {

/// What one stage of a rank executes, with layers numbered from 0 again; weights keep their names. The first stage
/// embeds; another one begins with take_hidden. The last one has the final norm and the logits; another one ends with
/// give_hidden. layers: some, and none that the program has not.
model_program program_of_stage(const model_program& of_rank, index_range layers);

/// Whether a batch has the rows of `hidden` that its stage takes and gives, and wants no logits where there are none.
bool fits_stage(const forward_batch& batch, const model_program& program);

/// What a step costs by parts, in any unit.
struct layer_costs {
  std::vector<double> layers;
  double embed = 0, head = 0; ///< Before the first layer; after the last one: norm and logits.
};

/// Cuts the layers so that the stage which costs most costs as little as it can, and then the others as alike as they
/// can. Errors: invalid_argument (no stage, or more of them than layers).
expected<std::vector<index_range>> balance_layers(const layer_costs& costs, unsigned stages);

} // namespace troupe
