// What a search for settings has found.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tools/troupe/bench/load_flags.hpp"
#include "tools/troupe/bench/setting_search.hpp"

namespace troupe::cli {

struct tune_report {
  std::string machine;
  std::string bounds; ///< "P99 TTFT 500 ms", or "none"
  load_flags load;
  std::vector<std::string> serve; ///< What every server was started with.
  const setting_search& search;

  std::string command() const; ///< The command line to use.
  std::string text() const;
  nlohmann::ordered_json json() const;
  std::string html() const;
};

} // namespace troupe::cli
