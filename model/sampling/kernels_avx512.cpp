#define TROUPE_LANES 16
#include "model/sampling/kernels_body.hpp"

namespace troupe::sampling {

constexpr kernel_table avx512_kernels = table("avx512");

} // namespace troupe::sampling
