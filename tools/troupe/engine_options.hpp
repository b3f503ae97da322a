// The options of every command that has an engine in its own process.
#pragma once

#include "tools/troupe/options.hpp"

namespace CLI {
class App;
}

namespace troupe::cli {

/// Options that write to `flags`, which outlives the parsing.
void add_engine_options(CLI::App* command, engine_flags& flags);

} // namespace troupe::cli
