// Bugs that an engine might have, planted by tampering with what its actors say: a test of the simulation itself.
#pragma once

#include <functional>
#include <vector>

#include "tests/simulation/mischief.hpp"

namespace troupe::simulated {

struct planted_bug {
  const char* name;
  std::function<mischief()> plant; ///< For one world: a bug may remember things.
};

const std::vector<planted_bug>& planted_bugs();

} // namespace troupe::simulated
