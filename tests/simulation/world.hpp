// One simulated world from its beginning to its end: an engine, its clients and their troubles, all from one seed.
#pragma once

#include <string>
#include <vector>

#include "tests/simulation/engine_watch.hpp"
#include "tests/simulation/mischief.hpp"
#include "tests/simulation/plan.hpp"

namespace troupe::simulated {

struct world_report {
  std::uint64_t seed = 0;
  std::uint64_t trace = 0; ///< A hash of all that happened, in its order.
  std::vector<std::string> violations;
  std::size_t jobs = 0, requests = 0, endings = 0, tokens = 0;
  std::uint64_t worker_deaths = 0;
  watch_figures figures;
};

/// Runs it. With a mischief, the engine has a bug.
world_report run_world(const world_plan& plan, const mischief& bugs = {});

inline world_report run_world(std::uint64_t seed) {
  return run_world(plan_world(seed));
}

} // namespace troupe::simulated
