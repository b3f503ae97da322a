#define TROUPE_LANES 4
#include "model/sampling/kernels_body.hpp"

namespace troupe::sampling {

constexpr kernel_table portable_kernels = table("portable");

} // namespace troupe::sampling
