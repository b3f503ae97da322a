// The shim's stand-in for the vendor's library of matrix products.
#pragma once

#include "gpu/shim/device_memory.hpp"

namespace troupe::gpu::shim {

/// Sums in fp32, in an order that is this machine's own, as each device's is. Throws a violation for operands that are not there.
void multiply_matrices(device_memory& memory, const matrix_product& what);

} // namespace troupe::gpu::shim
