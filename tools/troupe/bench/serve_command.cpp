// `troupe bench serve`: a load of requests against a server that is running.
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/load_run.hpp"
#include "tools/troupe/bench/server_of.hpp"
#include "tools/troupe/bench/serving_report.hpp"

namespace troupe::cli {

int bench_serve(const serve_bench_flags& flags) {
  if (auto writable = flags.files.check(); !writable)
    return report(writable.error());
  const stop_signal stop;
  const auto server = access_of(flags.server, flags.load, stop);
  if (!server)
    return report(server.error());
  const auto load = prepare_load(*server, flags.load);
  if (!load)
    return end_with(load.error());
  const auto result = measure_load(*server, *load, "requests");
  if (!result)
    return end_with(result.error());
  if (auto written = flags.files.write(serving_json(*result, flags.save_detailed), serving_html(*result)); !written)
    return report(written.error());
  const int printed = print_result(serving_text(*result));
  const auto failures = failures_of(*result);
  return failures.empty() ? printed : report({errc::unavailable, failures});
}

} // namespace troupe::cli
