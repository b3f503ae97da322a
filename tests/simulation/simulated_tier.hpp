// A tier in memory that has troubles: blocks vanish, rot, and one day it saves no more. What has rotted is found out
// when it is loaded, as a tier must (engine/kv/block_tier.hpp).
#pragma once

#include <map>
#include <memory>

#include "actors/kv_tier.hpp"
#include "engine/kv/memory_tier.hpp"
#include "tests/simulation/plan.hpp"

namespace troupe::simulated {

/// What the tiers of one world have done.
struct tier_figures {
  std::uint64_t saved = 0, loaded = 0, missing = 0, damaged = 0, stopped = 0;
};

/// What is in one, which may outlive its world: the next one finds it as after a restart.
struct tier_contents {
  std::unique_ptr<memory_tier> kept;
  std::map<block_hash, std::uint64_t> sums; ///< Of what was saved, as it was before it rotted.
};

/// `plan.tier` is there. The world, the figures and the contents outlive the tier.
tier_factory simulated_tier(simulation& world, const world_plan& plan, tier_figures& figures, tier_contents& contents);

} // namespace troupe::simulated
