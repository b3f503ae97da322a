// `troupe bench tune`: which settings of a server give the most throughput within bounds of latency.
#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/child_server.hpp"
#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/load_run.hpp"
#include "tools/troupe/bench/tune_report.hpp"

namespace troupe::cli {

namespace {

struct bound {
  const char* name;
  double most_ms;
  latency_summary serving_metrics::*of;
};

/// Those that were set.
std::vector<bound> bounds_of(const tune_flags& flags) {
  std::vector<bound> bounds{{"TTFT", flags.most_ttft_ms, &serving_metrics::ttft},
                            {"TPOT", flags.most_tpot_ms, &serving_metrics::tpot},
                            {"ITL", flags.most_itl_ms, &serving_metrics::itl},
                            {"E2EL", flags.most_e2el_ms, &serving_metrics::e2el}};
  std::erase_if(bounds, [](const bound& each) { return each.most_ms == 0; });
  return bounds;
}

std::string sentence_of(const std::vector<bound>& bounds) {
  std::string out;
  for (const auto& each : bounds)
    out += fmt::format("{}P99 {} {:g} ms", out.empty() ? "" : ", ", each.name, each.most_ms);
  return out.empty() ? "none" : out;
}

/// Starts a server with these arguments, and sends it the load, which the first server that is ready makes. A server that
/// does not start, or fails a request, is beyond every bound; `reason` says why. Errors: cancelled (a signal came).
expected<measurement> measure(const tune_flags& flags, std::vector<std::string> arguments, const stop_signal& stop,
                              const std::string& what, std::optional<prepared_load>& load, std::string& reason) {
  const measurement beyond{0, std::numeric_limits<double>::infinity()};
  const auto failed = [&](const error& problem) -> expected<measurement> {
    if (problem.code == errc::cancelled)
      return tl::unexpected(problem);
    reason = problem.message;
    return beyond;
  };
  auto child = child_server::start(std::move(arguments), stop);
  if (!child)
    return failed(child.error());
  if (auto ready = (*child)->wait_until_ready(); !ready)
    return failed(ready.error());
  if (!load) {
    auto made = prepare_load((*child)->access(), flags.load);
    if (!made)
      return failed(made.error());
    load = std::move(*made);
  }
  const auto result = measure_load((*child)->access(), *load, what);
  if (!result)
    return failed(result.error());
  if (result->metrics.failed > 0)
    return failed({errc::unavailable, failures_of(*result)});
  measurement out{result->metrics.output_tokens_per_s, 0};
  for (const auto& each : bounds_of(flags))
    out.excess = std::max(out.excess, (result->metrics.*each.of).percentiles.front() / each.most_ms);
  return out;
}

} // namespace

int bench_tune(const tune_flags& flags) {
  if (auto writable = flags.files.check(); !writable)
    return report(writable.error());
  const stop_signal stop;
  setting start;
  for (const auto& each : flags.options)
    start.push_back((each.values.size() - 1) / 2);
  setting_search search(flags.options, start, flags.limits);
  std::optional<prepared_load> load;
  for (auto now = search.next(); now; now = search.next()) {
    auto arguments = flags.serve;
    for (auto& each : search.arguments_of(*now))
      arguments.push_back(std::move(each));
    const auto what =
      search.confirming() ? "measuring again: requests" : fmt::format("setting {}: requests", search.tried().size());
    std::string reason;
    const auto measured = measure(flags, std::move(arguments), stop, what, load, reason);
    if (!measured)
      return end_with(measured.error());
    if (!reason.empty() && search.tried().size() == 1) // What all others are compared with.
      return report({errc::unavailable, reason});
    if (!reason.empty())
      report({errc::unavailable, fmt::format("{}: {}", fmt::join(search.arguments_of(*now), " "), reason)});
    search.tell(*measured);
  }
  const tune_report result{machine_name(), sentence_of(bounds_of(flags)), flags.load, flags.serve, search};
  if (auto written = flags.files.write(result.json(), result.html()); !written)
    return report(written.error());
  return print_result(result.text());
}

} // namespace troupe::cli
