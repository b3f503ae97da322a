// A load against a server, from its options to its figures.
#pragma once

#include "tools/troupe/bench/http_exchange.hpp"
#include "tools/troupe/bench/load_flags.hpp"

namespace troupe::cli {

/// What the flags leave open is asked of the server. Errors: those of `make_workload`, of the codec and of `exchange`.
struct prepared_load {
  load_flags flags;
  std::string model; ///< As the server calls it.
  std::shared_ptr<text_codec> codec;
  std::vector<conversation> work;
};
expected<prepared_load> prepare_load(const server_access& server, const load_flags& flags);

/// Sends it, and warms up before if that is wanted. Errors: unavailable (the server's name is not known), cancelled (a signal
/// came). `what`: in front of the progress.
expected<serving_result> measure_load(const server_access& server, const prepared_load& load,
                                      const std::string& what);

/// What the failed requests have to say, each once with how often; empty where none failed.
std::string failures_of(const serving_result& result);

} // namespace troupe::cli
