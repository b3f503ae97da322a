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
  std::size_t ids_used_again = 0, drained = 0;
  std::size_t ran_out = 0, embedded = 0, real_workers = 0;
  std::uint64_t worker_deaths = 0, steps_ahead = 0;
  tier_figures tier;
  watch_figures figures;
};

/// Runs it. With a mischief, the engine has a bug; with contents, its tier has them from before, and leaves its own.
world_report run_world(const world_plan& plan, const mischief& bugs = {}, tier_contents* contents = nullptr);

inline world_report run_world(std::uint64_t seed) {
  return run_world(plan_world(seed));
}

} // namespace troupe::simulated
