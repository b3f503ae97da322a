#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/serving_report.hpp"

namespace troupe::cli {

namespace {

constexpr std::size_t most_points = 500; ///< Of one line.

plot_series distribution(const std::string& name, std::vector<double> seconds) {
  std::ranges::sort(seconds);
  plot_series out{name, {}, false};
  const auto step = std::max<std::size_t>(1, seconds.size() / most_points);
  for (std::size_t i = 0; i < seconds.size(); i += step)
    out.points.push_back(
      {seconds[i] * 1000, 100.0 * static_cast<double>(i + 1) / static_cast<double>(seconds.size()), ""});
  if (!seconds.empty())
    out.points.push_back({seconds.back() * 1000, 100, ""});
  return out;
}

plot_series over_time(const std::string& name, const std::vector<double>& by_second) {
  plot_series out{name, {}, false};
  for (std::size_t second = 0; second < by_second.size(); ++second)
    out.points.push_back({static_cast<double>(second) + 0.5, by_second[second], ""});
  return out;
}

/// Each request at its own height: until its first token, and from there to its last.
plot timeline(const std::vector<request_outcome>& outcomes) {
  constexpr double nowhere = std::numeric_limits<double>::quiet_NaN();
  plot_series waiting{"until the first token", {}, false}, answering{"until the last", {}, false};
  double number = 0;
  for (const auto& each : outcomes) {
    ++number;
    if (!each.error.empty())
      continue;
    waiting.points.insert(waiting.points.end(),
                          {{each.start, number, ""}, {each.start + each.ttft, number, ""}, {nowhere, nowhere, ""}});
    answering.points.insert(
      answering.points.end(),
      {{each.start + each.ttft, number, ""}, {each.start + each.latency, number, ""}, {nowhere, nowhere, ""}});
  }
  return {"Each request", "seconds", "request", {std::move(waiting), std::move(answering)}};
}

} // namespace

std::string serving_html(const serving_result& result) {
  std::vector<double> ttft, tpot, itl, e2el;
  for (const auto& each : result.outcomes) {
    if (!each.error.empty())
      continue;
    ttft.push_back(each.ttft);
    e2el.push_back(each.latency);
    if (each.output_tokens > 1)
      tpot.push_back(tpot_of(each));
    itl.insert(itl.end(), each.itl.begin(), each.itl.end());
  }
  const auto& m = result.metrics;
  const char* share = "percent that took no longer";
  return html_page(
    "troupe bench serve", serving_text(result),
    {to_svg({"TTFT and E2EL",
             "ms",
             share,
             {distribution("TTFT", std::move(ttft)), distribution("E2EL", std::move(e2el))}}),
     to_svg(
       {"TPOT and ITL", "ms", share, {distribution("TPOT", std::move(tpot)), distribution("ITL", std::move(itl))}}),
     to_svg({"Output tokens in each second", "seconds", "tokens", {over_time("tokens", m.tokens_by_second)}}),
     to_svg({"Open requests in each second", "seconds", "requests", {over_time("requests", m.requests_by_second)}}),
     to_svg(timeline(result.outcomes))});
}

} // namespace troupe::cli
