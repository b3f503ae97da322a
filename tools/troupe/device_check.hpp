// Which devices this build has, and which options go with each.
#pragma once

#include "protocol/error.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

/// Errors: unsupported (a device that this build does not have, or that cannot do it), invalid_argument (an option of another device).
expected<void> check_device(const engine_flags& flags);

} // namespace troupe::cli
