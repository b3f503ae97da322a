#define TROUPE_LANES 8
#include "model/sampling/kernels_body.hpp"

namespace troupe::sampling {

constexpr kernel_table avx2_kernels = table("avx2");

} // namespace troupe::sampling
