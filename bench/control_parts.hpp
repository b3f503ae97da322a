// What the planner and the KV store cost by themselves: a steady batch of decodes, without actors.
#pragma once

#include <cstdint>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe::bench {

struct part_costs {
  double plan_us = 0;  ///< `planner::plan`, the median.
  double take_us = 0;  ///< `planner::take`.
  double cache_us = 0; ///< Applying the report, if a step has one; the mean.
};

part_costs measure_parts(std::uint32_t batch, std::uint32_t context, std::uint32_t steps);

/// Tokens that no other sequence begins with, so that no prefix is cached.
std::vector<token_id> random_prompt(std::uint64_t seed, std::uint32_t length);

} // namespace troupe::bench
