// What all measurements share: what they say of the machine, where their results go, and how they end.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "protocol/error.hpp"

namespace troupe::cli {

/// "model name", as Linux knows it.
std::string processor_name();

/// "troupe 0.1.0 on NAME, 2 CPUs"
std::string machine_name();

/// Errors: io, with the path and the reason.
expected<void> write_file(const std::string& path, const std::string& text);

/// Where `--json` and `--html` say, each unless it is empty. Errors: io.
struct report_files {
  std::string json, html; ///< Paths.
  expected<void> write(const nlohmann::ordered_json& object, const std::string& page) const;
  /// Whether they can be written: said before the measurement, and not after it. Errors: io.
  expected<void> check() const;
};

/// Why nothing was measured, on stderr; the exit code, which is 130 where a signal came.
int end_with(const error& problem);

/// Prints what was measured, or says why that cannot be; the exit code.
int print_result(const std::string& text);

} // namespace troupe::cli
