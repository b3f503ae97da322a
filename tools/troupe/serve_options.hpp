// The options of `troupe serve`, for the command itself and for those that start one.
#pragma once

#include <string>
#include <vector>

#include "tools/troupe/options.hpp"

namespace CLI {
class App;
}

namespace troupe::cli {

// They write to the flags, which outlive the parsing.

void add_trace_option(CLI::App* command, engine_flags& flags);
/// Those of the engine, too.
void add_serve_options(CLI::App* command, serve_flags& flags);

/// What `troupe serve` would read in these arguments. `ours`: options that must not be among them ("--port"). Errors:
/// invalid_argument, in CLI11's words or with the name of the option.
expected<serve_flags> serve_flags_of(std::vector<std::string> arguments, const std::vector<std::string>& ours = {});

} // namespace troupe::cli
