// Requests to an engine in this process, for the benchmarks that need no server.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tools/troupe/local_engine.hpp"

namespace troupe::cli {

struct engine_totals {
  double seconds = 0; ///< From the first request to the last one's end.
  std::uint64_t prompt_tokens = 0, output_tokens = 0;
};

/// Submits them in their order, as many at once as a client may have, and waits for all; their ids are given here.
/// `ended` is told how many have ended. Errors: that of the first request that fails, unavailable (the engine has
/// ended), cancelled (a signal came).
expected<engine_totals> run_requests(local_engine& engine, std::vector<generate_request> requests,
                                     const std::function<void(std::size_t)>& ended);

/// What is measured: the model, the device, and the engine's main settings. Waits until the weights are loaded. Errors:
/// those of `local_engine::info_or_stop`.
expected<nlohmann::ordered_json> describe_engine(local_engine& engine, const engine_flags& flags);

/// "model smollm2 on cpu, ..."
std::string engine_line(const nlohmann::ordered_json& described);

} // namespace troupe::cli
