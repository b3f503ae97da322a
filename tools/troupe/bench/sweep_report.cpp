#include "tools/troupe/bench/sweep_report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/serving_report.hpp"
#include "tools/troupe/bench/statistics.hpp"

namespace troupe::cli {

namespace {

/// Throughput and one latency of each point, joined in their order.
template <class Latency>
plot_series curve(const std::string& name, const sweep_report& report, Latency latency,
                  const std::vector<std::string>& labels) {
  plot_series out{name, {}, true};
  for (std::size_t i = 0; i < report.points.size(); ++i)
    out.points.push_back(
      {report.points[i].metrics.output_tokens_per_s, latency(report.points[i].metrics), labels[i]});
  return out;
}

} // namespace

std::string sweep_report::label_of(const serving_result& point) const {
  return swept == "request rate" ? fmt::format("{:g}", point.load.request_rate)
                                 : fmt::format("{}", point.load.max_concurrency.value_or(0));
}

std::string sweep_report::text() const {
  const auto& first = points.front();
  auto out = fmt::format("{}\nserver: {}{}, model {}\nload of the first point: {}; each point has another seed\n\n",
                         first.machine, first.server, first.load.endpoint, first.model, describe(first.load));
  const auto percentile = fmt::format("P{}", percent_name(first.load.percentiles.front()));
  out += fmt::format("{:>16}{:>9}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>8}\n", swept, "req/s", "out tok/s",
                     "total tok/s", "mean TTFT", percentile + " TTFT", "mean TPOT", percentile + " TPOT",
                     percentile + " ITL", "failed");
  for (const auto& point : points) {
    const auto& m = point.metrics;
    out += fmt::format("{:>16}{:>9.2f}{:>12.1f}{:>12.1f}{:>12.1f}{:>12.1f}{:>12.2f}{:>12.2f}{:>12.2f}{:>8}\n",
                       label_of(point), m.requests_per_s, m.output_tokens_per_s, m.tokens_per_s, m.ttft.mean,
                       m.ttft.percentiles.front(), m.tpot.mean, m.tpot.percentiles.front(), m.itl.percentiles.front(),
                       m.failed);
  }
  return out;
}

nlohmann::ordered_json sweep_report::json() const {
  nlohmann::ordered_json out;
  out["machine"] = points.front().machine;
  out["swept"] = swept;
  out["points"] = nlohmann::ordered_json::array();
  for (const auto& point : points)
    out["points"].push_back(serving_json(point, false));
  return out;
}

std::string sweep_report::html() const {
  std::vector<std::string> labels;
  for (const auto& point : points)
    labels.push_back(label_of(point));
  const std::vector<std::string> none(points.size());
  const auto percentile = fmt::format("P{}", percent_name(points.front().load.percentiles.front()));
  const auto two = [&](const std::string& name, latency_summary serving_metrics::*which) {
    return to_svg(
      {fmt::format("Throughput against {}, by {}", name, swept),
       "output tokens a second",
       "ms",
       {curve(
          "mean", *this, [=](const serving_metrics& m) { return (m.*which).mean; }, none),
        curve(
          percentile, *this, [=](const serving_metrics& m) { return (m.*which).percentiles.front(); }, labels)}});
  };
  return html_page("troupe bench sweep", text(),
                   {two("TTFT", &serving_metrics::ttft), two("TPOT", &serving_metrics::tpot),
                    two("ITL", &serving_metrics::itl), two("E2EL", &serving_metrics::e2el)});
}

} // namespace troupe::cli
