#include "model/stages.hpp"

#include <algorithm>
#include <cassert>
#include <limits>

#include <fmt/format.h>

namespace troupe {

model_program program_of_stage(const model_program& of_rank, index_range layers) {
  assert(layers.size() > 0 && layers.end <= of_rank.layers);
  model_program out = of_rank;
  out.layers = layers.size();
  out.operations.clear();
  if (layers.begin > 0)
    out.operations.push_back({.kind = op_kind::take_hidden, .output = buffer::hidden});
  for (const auto& op : of_rank.operations)
    if (layers.contains(op.layer)) { // The embedding is the first layer's, norm and logits are the last one's.
      out.operations.push_back(op);
      out.operations.back().layer -= layers.begin;
    }
  if (layers.end < of_rank.layers)
    out.operations.push_back({.kind = op_kind::give_hidden, .input = buffer::hidden, .layer = layers.size() - 1});
  return out;
}

bool fits_stage(const forward_batch& batch, const model_program& program) {
  const auto rows = batch.tokens.size() * program.width;
  return batch.input.size() == (program.takes_hidden() ? rows : 0) &&
         (batch.output.empty() || (program.gives_hidden() && batch.output.size() == rows)) &&
         ((batch.logit_rows.empty() && batch.hidden_rows.empty()) || !program.gives_hidden()) &&
         batch.hidden.size() == batch.hidden_rows.size() * program.width;
}

namespace {

double cost_of(const layer_costs& costs, index_range stage) {
  double sum = (stage.begin == 0 ? costs.embed : 0) + (stage.end == costs.layers.size() ? costs.head : 0);
  for (auto layer = stage.begin; layer < stage.end; ++layer)
    sum += costs.layers[layer];
  return sum;
}

/// The best cuts into stages that each cost no more than `limit`. `join` adds a stage to what those before it have come
/// to; less is better.
template <class Join>
std::vector<index_range> cut(const layer_costs& costs, unsigned stages, double limit, Join join) {
  const auto layers = static_cast<std::uint32_t>(costs.layers.size());
  constexpr double impossible = std::numeric_limits<double>::infinity();
  // Of the first `end` layers in so many stages: what they come to, and where the last of these begins.
  std::vector<std::vector<double>> best(stages + 1, std::vector<double>(layers + 1, impossible));
  std::vector<std::vector<std::uint32_t>> begins(stages + 1, std::vector<std::uint32_t>(layers + 1, 0));
  best[0][0] = 0;
  for (unsigned stage = 1; stage <= stages; ++stage)
    for (auto end = stage; end <= layers; ++end)
      for (auto begin = stage - 1; begin < end; ++begin) {
        const auto own = cost_of(costs, {begin, end});
        if (const auto all = join(best[stage - 1][begin], own); own <= limit && all < best[stage][end]) {
          best[stage][end] = all;
          begins[stage][end] = begin;
        }
      }
  std::vector<index_range> out(stages);
  for (auto stage = stages, end = layers; stage > 0; --stage) {
    out[stage - 1] = {begins[stage][end], end};
    end = begins[stage][end];
  }
  return out;
}

} // namespace

expected<std::vector<index_range>> balance_layers(const layer_costs& costs, unsigned stages) {
  if (stages == 0 || stages > costs.layers.size())
    return fail(errc::invalid_argument,
                fmt::format("The model's {} layers can be shared among {} stages at most, not among {}.",
                            costs.layers.size(), costs.layers.size(), stages));
  double largest = 0;
  for (const auto& stage : cut(costs, stages, std::numeric_limits<double>::max(),
                               [](double before, double own) { return std::max(before, own); }))
    largest = std::max(largest, cost_of(costs, stage));
  return cut(costs, stages, largest, [](double before, double own) { return before + own * own; });
}

} // namespace troupe
