// What a program of ours prints, which is started, and waited for.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "protocol/error.hpp"

namespace troupe::cli {

/// Its stdout up to its end, whatever its exit code; stdin is empty, stderr ours. One that takes longer than `limit` is ended.
/// arguments: first the program, a path. Errors: unavailable (it cannot be started, was killed, or took too long), io.
expected<std::string> output_of(std::vector<std::string> arguments, std::chrono::milliseconds limit);

} // namespace troupe::cli
