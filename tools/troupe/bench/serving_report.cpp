#include "tools/troupe/bench/serving_report.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "tools/troupe/bench/statistics.hpp"

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;

struct metric_name {
  const char *option, *name, *header;
  latency_summary serving_metrics::*values;
};
constexpr std::array<metric_name, 4> metric_names{{
  {"ttft", "TTFT", "Time to First Token", &serving_metrics::ttft},
  {"tpot", "TPOT", "Time per Output Token (excl. 1st token)", &serving_metrics::tpot},
  {"itl", "ITL", "Inter-token Latency", &serving_metrics::itl},
  {"e2el", "E2EL", "End-to-end Latency", &serving_metrics::e2el},
}};

bool is_told(const load_flags& load, const metric_name& metric) {
  return std::ranges::find(load.metrics, metric.option) != load.metrics.end();
}

std::string count_line(const char* name, std::uint64_t count) {
  return fmt::format("{:<40} {:<10}\n", name, count);
}

std::string figure_line(const std::string& name, double figure) {
  return fmt::format("{:<40} {:<10.2f}\n", name, figure);
}

std::string lines_of(const load_flags& load, const metric_name& metric, const latency_summary& summary) {
  auto out = fmt::format("{:-^50}\n", metric.header);
  out += figure_line(fmt::format("Mean {} (ms):", metric.name), summary.mean);
  out += figure_line(fmt::format("Median {} (ms):", metric.name), summary.median);
  for (std::size_t i = 0; i < load.percentiles.size(); ++i)
    out += figure_line(fmt::format("P{} {} (ms):", percent_name(load.percentiles[i]), metric.name),
                       summary.percentiles[i]);
  return out;
}

json rate_json(double rate) {
  return std::isinf(rate) ? json("inf") : json(rate);
}

void add_details(json& out, const std::vector<request_outcome>& outcomes) {
  for (const char* list :
       {"input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times", "errors"})
    out[list] = json::array();
  for (const auto& each : outcomes) {
    out["input_lens"].push_back(each.prompt_tokens);
    out["output_lens"].push_back(each.output_tokens);
    out["ttfts"].push_back(each.ttft);
    out["itls"].push_back(each.itl);
    out["latencies"].push_back(each.latency);
    out["start_times"].push_back(each.start);
    out["queue_times"].push_back(each.queued);
    out["errors"].push_back(each.error);
  }
}

} // namespace

std::string describe(const load_flags& load) {
  const auto& data = load.dataset;
  auto out = fmt::format("{} requests of {}", data.requests, data.name);
  if (!data.path.empty())
    out += " from " + data.path.string();
  else if (data.name == "prefix_repetition")
    out += fmt::format(", {} prefixes of {} tokens, {} more, {} out", data.repeated_prefixes, data.repeated_prefix,
                       data.repeated_suffix, data.repeated_output);
  else
    out += fmt::format(", {} tokens in{}, {} out", data.random_input + data.random_prefix,
                       data.random_range > 0 ? fmt::format(" (+-{:g} %)", 100 * data.random_range) : "",
                       data.random_output);
  if (data.name == "multi-turn")
    out += fmt::format(", {} to a conversation", data.turns);
  out += std::isinf(load.request_rate)
           ? "; all at once"
           : fmt::format("; {:g} in a second, burstiness {:g}", load.request_rate, load.burstiness);
  if (load.max_concurrency)
    out += fmt::format("; {} open at most", *load.max_concurrency);
  return out + fmt::format("; seed {}{}", data.seed, load.ignore_eos ? "; ends of answers ignored" : "");
}

std::string serving_text(const serving_result& result) {
  const auto& m = result.metrics;
  const auto& load = result.load;
  auto out = fmt::format("{}\nserver: {}{}, model {}\nload: {}\n", result.machine, result.server, load.endpoint,
                         result.model, describe(load));
  out += fmt::format("{:=^50}\n", " Serving Benchmark Result ");
  out += count_line("Successful requests:", m.completed);
  out += count_line("Failed requests:", m.failed);
  if (load.max_concurrency)
    out += count_line("Maximum request concurrency:", *load.max_concurrency);
  if (!std::isinf(load.request_rate))
    out += figure_line("Request rate configured (RPS):", load.request_rate);
  out += figure_line("Benchmark duration (s):", m.duration_s);
  out += count_line("Total input tokens:", m.input_tokens);
  out += count_line("Total generated tokens:", m.output_tokens);
  out += figure_line("Request throughput (req/s):", m.requests_per_s);
  if (!load.goodput.empty())
    out += figure_line("Request goodput (req/s):", m.good_requests_per_s);
  out += figure_line("Output token throughput (tok/s):", m.output_tokens_per_s);
  out += figure_line("Peak output token throughput (tok/s):", m.peak_output_tokens_per_s);
  out += figure_line("Peak concurrent requests:", m.peak_requests);
  out += figure_line("Total token throughput (tok/s):", m.tokens_per_s);
  for (const auto& metric : metric_names)
    if (is_told(load, metric))
      out += lines_of(load, metric, m.*metric.values);
  return out + std::string(50, '=') + "\n";
}

json serving_json(const serving_result& result, bool detailed) {
  const auto& m = result.metrics;
  const auto& load = result.load;
  json out;
  out["machine"] = result.machine;
  out["server"] = result.server;
  out["endpoint"] = load.endpoint;
  out["model_id"] = result.model;
  if (!result.serve.empty())
    out["serve"] = result.serve;
  out["load"] = describe(load);
  out["dataset_name"] = load.dataset.name;
  out["num_prompts"] = result.outcomes.size();
  out["seed"] = load.dataset.seed;
  out["request_rate"] = rate_json(load.request_rate);
  out["burstiness"] = rate_json(load.burstiness);
  out["max_concurrency"] = load.max_concurrency ? json(*load.max_concurrency) : json();
  out["ignore_eos"] = load.ignore_eos;
  out["duration"] = m.duration_s;
  out["completed"] = m.completed;
  out["failed"] = m.failed;
  out["total_input_tokens"] = m.input_tokens;
  out["total_output_tokens"] = m.output_tokens;
  out["request_throughput"] = m.requests_per_s;
  out["request_goodput"] = load.goodput.empty() ? json() : json(m.good_requests_per_s);
  out["output_throughput"] = m.output_tokens_per_s;
  out["total_token_throughput"] = m.tokens_per_s;
  out["max_output_tokens_per_s"] = m.peak_output_tokens_per_s;
  out["max_concurrent_requests"] = m.peak_requests;
  for (const auto& metric : metric_names) {
    if (!is_told(load, metric))
      continue;
    const auto& summary = m.*metric.values;
    const auto name = [&](const char* what) { return fmt::format("{}_{}_ms", what, metric.option); };
    out[name("mean")] = summary.mean;
    out[name("median")] = summary.median;
    out[name("std")] = summary.deviation;
    for (std::size_t i = 0; i < load.percentiles.size(); ++i)
      out[fmt::format("p{}_{}_ms", percent_name(load.percentiles[i]), metric.option)] = summary.percentiles[i];
  }
  if (detailed)
    add_details(out, result.outcomes);
  return out;
}

} // namespace troupe::cli
