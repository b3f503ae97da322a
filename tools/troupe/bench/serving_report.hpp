// A serving benchmark's results, to be read by people, by programs, and in a browser.
#pragma once

#include <nlohmann/json.hpp>

#include "tools/troupe/bench/load_flags.hpp"

namespace troupe::cli {

/// "64 requests of random, 128 tokens in, 64 out; ..."
std::string describe(const load_flags& load);

/// The lines of vLLM's client, with those that say what was measured in front.
std::string serving_text(const serving_result& result);

/// The names of vLLM's result file; `detailed` adds lists with an entry for each request.
nlohmann::ordered_json serving_json(const serving_result& result, bool detailed);

/// A page that needs nothing else: the figures, how latencies are spread, tokens and open requests over time, and each
/// request as a line in time.
std::string serving_html(const serving_result& result);

} // namespace troupe::cli
