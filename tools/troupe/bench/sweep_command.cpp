// `troupe bench sweep`: the same load at several rates or concurrencies.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/child_server.hpp"
#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/load_run.hpp"
#include "tools/troupe/bench/server_of.hpp"
#include "tools/troupe/bench/sweep_report.hpp"

namespace troupe::cli {

namespace {

/// The loads of the points, each with a seed of its own: what one has sent must not be cached for the next.
std::vector<load_flags> loads_of(const sweep_flags& flags) {
  std::vector<load_flags> loads(std::max(flags.rates.size(), flags.concurrencies.size()), flags.load);
  for (std::size_t i = 0; i < loads.size(); ++i) {
    loads[i].dataset.seed += i;
    if (flags.rates.empty())
      loads[i].max_concurrency = flags.concurrencies[i];
    else
      loads[i].request_rate = flags.rates[i];
  }
  return loads;
}

} // namespace

int bench_sweep(const sweep_flags& flags) {
  if (auto writable = flags.files.check(); !writable)
    return report(writable.error());
  const stop_signal stop;
  auto server = access_of(flags.server, flags.load, stop);
  if (!server)
    return report(server.error());
  std::unique_ptr<child_server> child;
  if (!flags.server.given) {
    auto started = child_server::start(flags.serve, stop);
    if (!started)
      return end_with(started.error());
    child = std::move(*started);
    if (auto ready = child->wait_until_ready(); !ready)
      return end_with(ready.error());
    server->address = child->access().address;
  }
  sweep_report result{flags.rates.empty() ? "max concurrency" : "request rate", {}};
  std::string failures;
  const auto loads = loads_of(flags);
  for (const auto& each : loads) {
    const auto load = prepare_load(*server, each);
    if (!load)
      return end_with(load.error());
    auto point =
      measure_load(*server, *load, fmt::format("point {} of {}: requests", result.points.size() + 1, loads.size()));
    if (!point)
      return end_with(point.error());
    if (child)
      point->serve = flags.serve;
    if (failures.empty())
      failures = failures_of(*point);
    result.points.push_back(std::move(*point));
  }
  if (auto written = flags.files.write(result.json(), result.html()); !written)
    return report(written.error());
  const int printed = print_result(result.text());
  return failures.empty() ? printed : report({errc::unavailable, failures});
}

} // namespace troupe::cli
