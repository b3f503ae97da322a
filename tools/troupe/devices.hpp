// `troupe devices`: which CUDA devices this process sees, and what memory each has free.
#pragma once

#include <vector>

#include "gpu/memory.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

/// The same of this program's own in a process that ends at once: a device keeps nothing for whoever asks. Errors: unavailable.
expected<std::vector<gpu_device>> ask_for_devices(unsigned most);

} // namespace troupe::cli
