// A worker whose steps take random times and who may die of them.
#pragma once

#include <deque>
#include <memory>

#include "actors/interfaces.hpp"
#include "tests/simulation/plan.hpp"

namespace troupe::simulated {

/// What all workers of one world have in common.
struct fake_device {
  simulation& world;
  const world_plan& plan;
  std::uint64_t steps = 0, rows = 0, deaths = 0, made = 0;
  std::uint64_t ahead = 0; ///< Steps that a real worker's device began before the one before them had ended.
};

worker_actor make_fake_worker(caf::actor_system& system, std::shared_ptr<fake_device> device, results_actor results);

} // namespace troupe::simulated
