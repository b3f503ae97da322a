// Bugs that an engine might have, planted by tampering with what its actors say: a test of the simulation itself.
#pragma once

#include <vector>

#include "tests/simulation/mischief.hpp"

namespace troupe::simulated {

struct planted_bug {
  const char* name;
  mischief (*plant)(); ///< For one world: a bug may remember things.
};

const std::vector<planted_bug>& planted_bugs();

/// Of them, those of tiers, drafts, draining and sampling (planted_part_bugs.cpp).
std::vector<planted_bug> planted_bugs_of_parts();

} // namespace troupe::simulated
