// A load against a server, from its options to its figures.
#pragma once

#include "tools/troupe/bench/http_exchange.hpp"
#include "tools/troupe/bench/load_flags.hpp"

namespace troupe::cli {

/// A load that can be sent any number of times, to any server of the same model.
struct prepared_load {
  load_flags flags;
  std::string model; ///< As the server calls it.
  std::vector<conversation> work;
};

/// What the flags leave open is asked of the server. Errors: those of `make_workload`, of the codec and of `exchange`;
/// cancelled (a signal came).
expected<prepared_load> prepare_load(const server_access& server, const load_flags& flags);

/// Sends it, and warms up before if that is wanted. `what`: in front of the progress. Errors: unavailable (the server's
/// name is not known), cancelled (a signal came), those of the codec where the server does not count its tokens.
expected<serving_result> measure_load(const server_access& server, const prepared_load& load,
                                      const std::string& what);

/// What the failed requests have to say, each once with how often; empty where none failed.
std::string failures_of(const serving_result& result);

} // namespace troupe::cli
