// The command line of `troupe bench`.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace troupe::cli {

/// Adds `bench` and its commands; each is returned with what does it once the command line has been parsed.
std::vector<std::pair<CLI::App*, std::function<int()>>> add_bench_commands(CLI::App& app);

} // namespace troupe::cli
