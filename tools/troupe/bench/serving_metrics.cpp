#include "tools/troupe/bench/serving_metrics.hpp"

#include <algorithm>
#include <cmath>

#include "tools/troupe/bench/statistics.hpp"

namespace troupe::cli {

namespace {

latency_summary summary_of(std::vector<double> seconds, const std::vector<double>& percentiles) {
  latency_summary out;
  for (auto& each : seconds)
    each *= 1000;
  out.mean = mean_of(seconds);
  out.deviation = deviation_of(seconds);
  out.median = median_of(seconds);
  for (double percent : percentiles)
    out.percentiles.push_back(percentile_of(seconds, percent));
  return out;
}

bool is_good(const request_outcome& outcome, const goodput_bounds& bounds) {
  return std::ranges::all_of(bounds, [&](const auto& bound) {
    const auto& [name, ms] = bound;
    const double took = name == "ttft" ? outcome.ttft : name == "tpot" ? tpot_of(outcome) : outcome.latency;
    return took * 1000 <= ms;
  });
}

/// Tokens and open requests in each second since the first request was sent.
void count_by_second(const std::vector<request_outcome>& outcomes, serving_metrics& out) {
  double first = INFINITY, last = 0;
  for (const auto& each : outcomes)
    if (each.error.empty()) {
      first = std::min(first, each.start);
      last = std::max(last, each.start + each.latency);
    }
  if (std::isinf(first))
    return;
  const auto second_of = [&](double time) { return static_cast<std::size_t>(time - first); };
  out.tokens_by_second.resize(static_cast<std::size_t>(std::ceil(last - first)) + 1);
  out.requests_by_second.resize(out.tokens_by_second.size());
  for (const auto& each : outcomes) {
    if (!each.error.empty())
      continue;
    double now = each.start + each.ttft;
    for (std::size_t chunk = 0; chunk <= each.itl.size(); ++chunk) {
      out.tokens_by_second[second_of(now)] += each.chunk_tokens.empty() ? 1 : each.chunk_tokens[chunk];
      if (chunk < each.itl.size())
        now = std::min(now + each.itl[chunk], last); // Sums round.
    }
    for (auto second = second_of(each.start); second <= second_of(each.start + each.latency); ++second)
      ++out.requests_by_second[second];
  }
  out.peak_output_tokens_per_s = std::ranges::max(out.tokens_by_second);
  out.peak_requests = static_cast<std::uint32_t>(std::ranges::max(out.requests_by_second));
}

} // namespace

double tpot_of(const request_outcome& outcome) {
  return outcome.output_tokens > 1 ? (outcome.latency - outcome.ttft) / (outcome.output_tokens - 1) : 0;
}

serving_metrics measure_serving(const std::vector<request_outcome>& outcomes, double duration_s,
                                const std::vector<double>& percentiles, const goodput_bounds& bounds) {
  serving_metrics out;
  out.duration_s = duration_s;
  std::vector<double> ttfts, tpots, itls, e2els;
  std::uint32_t good = 0;
  for (const auto& each : outcomes) {
    if (!each.error.empty()) {
      ++out.failed;
      continue;
    }
    ++out.completed;
    good += !bounds.empty() && is_good(each, bounds);
    out.input_tokens += each.prompt_tokens;
    out.output_tokens += each.output_tokens;
    ttfts.push_back(each.ttft);
    e2els.push_back(each.latency);
    itls.insert(itls.end(), each.itl.begin(), each.itl.end());
    if (each.output_tokens > 1)
      tpots.push_back(tpot_of(each));
  }
  const auto per_second = [&](double count) { return duration_s > 0 ? count / duration_s : 0; };
  out.requests_per_s = per_second(out.completed);
  out.good_requests_per_s = per_second(good);
  out.output_tokens_per_s = per_second(static_cast<double>(out.output_tokens));
  out.tokens_per_s = per_second(static_cast<double>(out.input_tokens + out.output_tokens));
  count_by_second(outcomes, out);
  out.ttft = summary_of(std::move(ttfts), percentiles);
  out.tpot = summary_of(std::move(tpots), percentiles);
  out.itl = summary_of(std::move(itls), percentiles);
  out.e2el = summary_of(std::move(e2els), percentiles);
  return out;
}

} // namespace troupe::cli
