#include "tools/troupe/bench/bench_options.hpp"

#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/troupe/bench/load_options.hpp"
#include "tools/troupe/engine_options.hpp"

namespace troupe::cli {

namespace {

using work = std::function<int()>;

work add_serve(CLI::App* command) {
  const auto flags = std::make_shared<serve_bench_flags>();
  add_server_options(command, flags->server);
  add_load_options(command, flags->load);
  add_rate_option(command, flags->load);
  add_concurrency_option(command, flags->load);
  add_told_options(command, flags->load);
  add_percentile_option(command, flags->load);
  add_report_options(command, flags->files);
  command->add_flag("--save-detailed", flags->save_detailed, "Also the figures of each request")
    ->needs(command->get_option("--json"));
  return [flags] { return bench_serve(*flags); };
}

work add_latency(CLI::App* command) {
  const auto flags = std::make_shared<latency_flags>();
  const auto count = [&](const char* option, std::uint32_t& value, const char* help, std::uint32_t least,
                         std::uint32_t most) {
    command->add_option(option, value, help)->capture_default_str()->check(CLI::Range(least, most));
  };
  count("--input-len", flags->input, "Tokens of each prompt", 1, 1u << 20);
  count("--output-len", flags->output, "Tokens of each answer", 1, 1u << 20);
  count("--batch-size", flags->batch, "Requests of a batch", 1, 4096);
  count("--num-iters", flags->iterations, "Batches that count", 1, 1000000);
  count("--num-iters-warmup", flags->warmups, "Batches before them", 0, 1000000);
  add_report_options(command, flags->files);
  add_engine_options(command, flags->engine);
  return [flags] { return bench_latency(*flags); };
}

work add_throughput(CLI::App* command) {
  const auto flags = std::make_shared<throughput_flags>();
  add_dataset_options(command, flags->dataset, {"random", "sharegpt", "prefix_repetition"});
  add_report_options(command, flags->files);
  add_engine_options(command, flags->engine);
  return [flags] { return bench_throughput(*flags); };
}

work add_startup(CLI::App* command) {
  const auto flags = std::make_shared<startup_flags>();
  command->add_option("--num-iters", flags->repeat, "Starts")->capture_default_str()->check(CLI::Range(1u, 1000u));
  command->add_flag("--cold", flags->cold, "Have the system forget the model's file before each start");
  add_report_options(command, flags->files);
  add_serve_arguments(command, flags->serve);
  return [flags] { return bench_startup(*flags); };
}

work add_sweep(CLI::App* command) {
  const auto flags = std::make_shared<sweep_flags>();
  auto* over = command->add_option_group("Sweep");
  add_rates_option(command, over, flags->load, flags->rates);
  over->add_option("--max-concurrencies", flags->concurrencies, "Requests open at once, separated by commas")
    ->delimiter(',')
    ->allow_extra_args(false)
    ->check(CLI::Range(1u, 1u << 20));
  over->require_option(1);
  add_server_options(command, flags->server);
  add_load_options(command, flags->load);
  add_percentile_option(command, flags->load);
  add_report_options(command, flags->files);
  add_serve_arguments(command, flags->serve);
  return [flags] {
    if (!flags->server.given || flags->serve.empty())
      return bench_sweep(*flags);
    report({errc::invalid_argument, "Options after -- are for a server that is started here, but one is named."});
    return exit_usage;
  };
}

searched_option option_of(const std::string& text) {
  const auto equals = std::min(text.find('='), text.size());
  searched_option out{text.substr(0, equals), {}};
  if (equals < text.size())
    out.values = CLI::detail::split(text.substr(equals + 1), ',');
  if (out.name.empty() || out.name.starts_with('-') || out.values.empty() ||
      std::ranges::find(out.values, "") != out.values.end())
    throw CLI::ValidationError("--search",
                               "it must be OPTION=VALUE,VALUE,... (as max-num-seqs=16,32,64), but is " + text);
  return out;
}

work add_tune(CLI::App* command) {
  const auto flags = std::make_shared<tune_flags>();
  flags->options = {{"max-num-batched-tokens", {"128", "256", "512", "1024", "2048"}},
                    {"max-num-seqs", {"16", "32", "64", "128", "256"}},
                    {"long-prefill-tokens", {"64", "128", "256", "512", "0"}}};
  auto* group = command->add_option_group("Search");
  group
    ->add_option_function<std::vector<std::string>>(
      "--search",
      [flags](const std::vector<std::string>& texts) {
        flags->options.clear();
        for (const auto& text : texts)
          flags->options.push_back(option_of(text));
      },
      "An option of troupe serve and its values in order, of which the middle one is the first to be tried; may be "
      "given "
      "several times [max-num-batched-tokens=128,256,512,1024,2048 max-num-seqs=16,32,64,128,256 "
      "long-prefill-tokens=64,128,256,512,0]")
    ->type_name("OPTION=VALUES")
    ->allow_extra_args(false);
  const auto bound = [&](const char* option, double& value, const char* of) {
    group->add_option(option, value, fmt::format("Milliseconds that the 99th percentile of {} may be", of))
      ->check(CLI::PositiveNumber);
  };
  bound("--max-p99-ttft-ms", flags->most_ttft_ms, "TTFT");
  bound("--max-p99-tpot-ms", flags->most_tpot_ms, "TPOT");
  bound("--max-p99-itl-ms", flags->most_itl_ms, "ITL");
  bound("--max-p99-e2el-ms", flags->most_e2el_ms, "E2EL");
  group
    ->add_option("--num-iters", flags->limits.repeats, "Measurements of each setting, each with a server of its own")
    ->capture_default_str()
    ->check(CLI::Range(1u, 100u));
  group->add_option("--max-settings", flags->limits.settings, "Settings that are tried at most")
    ->capture_default_str()
    ->check(CLI::Range(1u, 10000u));
  group->add_option("--min-gain", flags->limits.gain, "A share of the throughput below which a difference is noise")
    ->capture_default_str()
    ->check(CLI::Range(0.0, 1.0));
  add_load_options(command, flags->load);
  add_rate_option(command, flags->load);
  add_concurrency_option(command, flags->load);
  add_report_options(command, flags->files);
  add_serve_arguments(command, flags->serve);
  return [flags] { return bench_tune(*flags); };
}

work add_roofline(CLI::App* command) {
  const auto flags = std::make_shared<roofline_flags>();
  command->add_option("--model", flags->model, "A model by name or path")->capture_default_str();
  command->add_option("--threads", flags->threads, "Threads that compute; 0: all that this process may use")
    ->capture_default_str()
    ->check(CLI::Range(0u, 1024u));
  command->add_option("--repeat", flags->repeat, "Measurements of a phase; the median counts")
    ->capture_default_str()
    ->check(CLI::Range(1u, 1000u));
  command->add_option("--svg", flags->svg, "Draw a picture into this file");
  command->add_flag("--json", flags->json, "Print one JSON object");
  return [flags] { return bench_roofline(*flags); };
}

} // namespace

std::vector<std::pair<CLI::App*, std::function<int()>>> add_bench_commands(CLI::App& app) {
  auto* bench = app.add_subcommand("bench", "Measure a server, an engine, this machine (docs/benchmarks.md)");
  bench->require_subcommand(1);
  std::vector<std::pair<CLI::App*, std::function<int()>>> commands;
  const auto add = [&](const char* name, const char* help, auto* with_options) {
    auto* command = bench->add_subcommand(name, help);
    commands.emplace_back(command, with_options(command));
  };
  add("serve", "Send a load to a server that speaks OpenAI's API, and tell its throughput and latencies", &add_serve);
  add("latency", "How long one batch takes, in this process", &add_latency);
  add("throughput", "How much is done when all is given at once, in this process", &add_throughput);
  add("startup", "How long a server takes to be ready", &add_startup);
  add("sweep", "The same load at several rates or concurrencies: throughput against latency", &add_sweep);
  add("tune", "Search the settings of a server for the most throughput within bounds of latency", &add_tune);
  add("roofline", "How fast each phase of a model is, and how far from what this machine can do at most",
      &add_roofline);
  return commands;
}

} // namespace troupe::cli
