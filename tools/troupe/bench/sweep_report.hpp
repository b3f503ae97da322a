// What a sweep shows: throughput against latency, over rates or over concurrencies.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tools/troupe/bench/load_flags.hpp"

namespace troupe::cli {

struct sweep_report {
  std::string swept;                  ///< "request rate" or "max concurrency"
  std::vector<serving_result> points; ///< With one percentile at least.

  std::string text() const; ///< A table, a line for each point.
  nlohmann::ordered_json json() const;
  std::string html() const;

private:
  std::string label_of(const serving_result& point) const;
};

} // namespace troupe::cli
