// `troupe bench latency`: how long one batch takes, in an engine of this process.
#include <random>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/engine_load.hpp"
#include "tools/troupe/bench/flags.hpp"
#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/statistics.hpp"
#include "tools/troupe/bench/text_codec.hpp"
#include "tools/troupe/progress.hpp"

namespace troupe::cli {

namespace {

constexpr double told_percentiles[] = {10, 25, 50, 75, 90, 99}; // As vLLM tells them.

/// Prompts of their own for each iteration, so that no prefix is found.
std::vector<generate_request> batch_of(const latency_flags& flags, const std::vector<token_id>& ids,
                                       std::mt19937_64& random) {
  std::uniform_int_distribution<std::size_t> any(0, ids.size() - 1);
  std::vector<generate_request> batch(flags.batch);
  for (auto& request : batch) {
    prompt_tokens prompt(flags.input);
    for (auto& token : prompt)
      token = ids[any(random)];
    request.prompt = std::move(prompt);
    request.sampling.max_tokens = flags.output;
    request.sampling.ignore_eos = true;
  }
  return batch;
}

std::string text_of(const std::vector<double>& seconds) {
  auto out = fmt::format("Avg latency: {} seconds\n", mean_of(seconds));
  for (double percent : told_percentiles)
    out +=
      fmt::format("{}% percentile latency: {} seconds\n", percent_name(percent), percentile_of(seconds, percent));
  return out;
}

nlohmann::ordered_json json_of(const latency_flags& flags, nlohmann::ordered_json described,
                               const std::vector<double>& seconds) {
  described["input_len"] = flags.input;
  described["output_len"] = flags.output;
  described["batch_size"] = flags.batch;
  described["avg_latency"] = mean_of(seconds);
  described["latencies"] = seconds;
  for (double percent : told_percentiles)
    described["percentiles"][percent_name(percent)] = percentile_of(seconds, percent);
  return described;
}

std::string page_of(const std::string& text, const std::vector<double>& seconds) {
  plot_series series{"latency", {}, true};
  for (std::size_t i = 0; i < seconds.size(); ++i)
    series.points.push_back({static_cast<double>(i + 1), seconds[i], ""});
  return html_page("troupe bench latency", text,
                   {to_svg({"Latency of each batch", "iteration", "seconds", {series}})});
}

} // namespace

int bench_latency(const latency_flags& flags) {
  if (auto writable = flags.files.check(); !writable)
    return report(writable.error());
  auto engine = local_engine::start(flags.engine);
  if (!engine)
    return report(engine.error());
  const auto described = describe_engine(**engine, flags.engine);
  if (!described)
    return end_with(described.error());
  const auto codec = make_local_codec((*engine)->model().tokens);
  if (!codec)
    return report(codec.error());
  std::mt19937_64 random(0);
  progress bar("batches", flags.warmups + flags.iterations);
  std::vector<double> seconds;
  for (std::uint32_t i = 0; i < flags.warmups + flags.iterations; ++i) {
    const auto took =
      run_requests(**engine, batch_of(flags, (*codec)->ordinary_tokens(), random), [&](std::size_t) { bar.show(i); });
    if (!took)
      return end_with(took.error());
    if (i >= flags.warmups)
      seconds.push_back(took->seconds);
  }
  const auto text = engine_line(*described) +
                    fmt::format("batch of {}, {} tokens in, {} out; {} iterations after {} to warm up\n", flags.batch,
                                flags.input, flags.output, flags.iterations, flags.warmups) +
                    text_of(seconds);
  if (auto written = flags.files.write(json_of(flags, *described, seconds), page_of(text, seconds)); !written)
    return report(written.error());
  return print_result(text);
}

} // namespace troupe::cli
