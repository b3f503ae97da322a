// The options that say what is sent to a server, and which.
#pragma once

#include "tools/troupe/bench/flags.hpp"

namespace CLI {
class App;
}

namespace troupe::cli {

// Options that write to the flags, which outlive the parsing. Where they differ from one command to the next, `command` adds
// its own.

void add_server_options(CLI::App* command, server_flags& flags);
/// An option that says nothing of the data set that was chosen is refused.
void add_dataset_options(CLI::App* command, dataset_flags& flags, const std::vector<std::string>& names);
/// All of a load but its arrivals and its concurrency.
void add_load_options(CLI::App* command, load_flags& flags);
void add_rate_option(CLI::App* command, load_flags& flags); ///< --request-rate, --burstiness
/// `group` gets the rates, `command` what goes with them.
void add_rates_option(CLI::App* command, CLI::App* group, load_flags& flags, std::vector<double>& rates);
void add_concurrency_option(CLI::App* command, load_flags& flags);
void add_told_options(CLI::App* command, load_flags& flags); ///< --goodput, --percentile-metrics
void add_percentile_option(CLI::App* command, load_flags& flags);
void add_report_options(CLI::App* command, report_files& files);
/// The arguments behind `--`, which `troupe serve` gets.
void add_serve_arguments(CLI::App* command, std::vector<std::string>& arguments);

} // namespace troupe::cli
