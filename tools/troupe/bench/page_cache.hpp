// Which part of a file the system has in memory.
#pragma once

#include <filesystem>

#include "protocol/error.hpp"

namespace troupe::cli {

/// 0 to 1. Errors: io.
expected<double> cached_share(const std::filesystem::path& file);

/// Asks the system to forget what no process has mapped and nobody has written; `cached_share` says whether it has. Errors:
/// io.
expected<void> forget_cached(const std::filesystem::path& file);

} // namespace troupe::cli
