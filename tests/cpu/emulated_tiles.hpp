// The kernels for AMX over tiles in plain C++, so that all around the tile instructions is tested on CPUs that have none.
#pragma once

#include "cpu/bf16_kernels.hpp"

namespace troupe::test {

/// Its calls need AVX-512, as AMX's kernels do.
extern const cpu::bf16_kernels emulated_tile_kernels;

/// The first thing that a tile instruction was asked which a CPU refuses (or takes for something else), or null.
const char* tile_violation();

} // namespace troupe::test
