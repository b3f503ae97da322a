// A kernel of gpu/kernels/list.hpp and the grid that it is launched with: for the host.
#pragma once

#include "gpu/kernels/list.hpp"

namespace troupe::gpu {

struct launch_plan {
  kernel_id kernel = 0;
  grid_shape shape;
};

/// sizes: what the kernel's `grid` takes.
template <class Kernel, class... Sizes>
constexpr launch_plan plan_of(Sizes... sizes) {
  return {kernel_index<Kernel, all_kernels>::value, Kernel::grid(sizes...)};
}

} // namespace troupe::gpu
