#include "tools/troupe/bench/load_options.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <CLI/CLI.hpp>

namespace troupe::cli {

namespace {

constexpr std::uint32_t most_requests = 10'000'000, most_length = 1u << 20;

/// Also "inf".
const CLI::Validator more_than_0(
  [](const std::string& text) {
    char* end = nullptr;
    return std::strtod(text.c_str(), &end) > 0 && *end == 0 ? std::string() : "it must be more than 0, not " + text;
  },
  "", "more than 0");

void add_length(CLI::App* group, const char* option, std::uint32_t& value, const char* help,
                std::uint32_t least = 0) {
  group->add_option(option, value, help)->capture_default_str()->check(CLI::Range(least, most_length));
}

/// The kinds of prompts: the data sets, but what a multi-turn conversation is made of is one of two things.
constexpr const char* talks_of_random = "multi-turn without --dataset-path";
constexpr const char* talks_of_file = "multi-turn with --dataset-path";

struct dataset_option {
  const char* option;
  std::vector<std::string> kinds; ///< Of prompts, for which it says something.
};
const std::vector<dataset_option> dataset_options{
  {"--dataset-path", {"sharegpt", talks_of_file}},
  {"--random-input-len", {"random", talks_of_random}},
  {"--random-output-len", {"random", talks_of_random}},
  {"--random-range-ratio", {"random", talks_of_random}},
  {"--random-prefix-len", {"random", talks_of_random}},
  {"--prefix-repetition-prefix-len", {"prefix_repetition"}},
  {"--prefix-repetition-suffix-len", {"prefix_repetition"}},
  {"--prefix-repetition-num-prefixes", {"prefix_repetition"}},
  {"--prefix-repetition-output-len", {"prefix_repetition"}},
  {"--sharegpt-output-len", {"sharegpt", talks_of_file}},
  {"--multi-turn-turns", {talks_of_random, talks_of_file}},
};

void check_dataset_options(const CLI::App& group, const dataset_flags& flags) {
  const std::string talks = flags.path.empty() ? talks_of_random : talks_of_file;
  const auto& kind = flags.name == "multi-turn" ? talks : flags.name;
  for (const auto& [name, kinds] : dataset_options) {
    const auto* option = group.get_option_no_throw(name);
    if (option && option->count() > 0 && std::ranges::find(kinds, kind) == kinds.end())
      throw CLI::ValidationError(name, "it goes with --dataset-name " + CLI::detail::join(kinds, " or ") +
                                         ", and not with " + kind);
  }
}

void add_burstiness(CLI::App* command, load_flags& flags, const std::function<bool()>& has_rate) {
  auto* group = command->add_option_group("Arrivals");
  group
    ->add_option("--burstiness", flags.burstiness,
                 "Shape of the times between arrivals: 1 is Poisson, less is in bursts")
    ->capture_default_str()
    ->check(more_than_0);
  group->callback([has_rate] {
    if (!has_rate())
      throw CLI::ValidationError("--burstiness", "it is the shape of a finite rate, and none is given");
  });
}

void add_goodput(const std::vector<std::string>& pairs, goodput_bounds& bounds) {
  for (const auto& pair : pairs) {
    const auto colon = std::min(pair.find(':'), pair.size());
    const auto name = pair.substr(0, colon);
    char* end = nullptr;
    const double ms = colon < pair.size() ? std::strtod(pair.c_str() + colon + 1, &end) : 0;
    if ((name != "ttft" && name != "tpot" && name != "e2el") || ms <= 0 || *end != 0)
      throw CLI::ValidationError("--goodput", "it must be ttft:MS, tpot:MS or e2el:MS, but is " + pair);
    bounds[name] = ms;
  }
}

} // namespace

void add_server_options(CLI::App* command, server_flags& flags) {
  auto* group = command->add_option_group("Server");
  auto* url = group->add_option_function<std::string>(
    "--base-url",
    [&flags](const std::string& url) {
      flags.base_url = url;
      flags.given = true;
    },
    "Where the server is: http://HOST:PORT");
  const auto given = [&flags](const auto&) { flags.given = true; };
  group->add_option("--host", flags.host, "Its address or name")->capture_default_str()->each(given)->excludes(url);
  group->add_option("--port", flags.port, "Its port")->capture_default_str()->each(given)->excludes(url);
}

void add_dataset_options(CLI::App* command, dataset_flags& flags, const std::vector<std::string>& names) {
  auto* group = command->add_option_group("Data set");
  const auto has = [&](const char* name) { return std::ranges::find(names, name) != names.end(); };
  group->add_option("--dataset-name", flags.name, "What the prompts are")
    ->capture_default_str()
    ->check(CLI::IsMember(names));
  group->add_option("--dataset-path", flags.path, "JSON of conversations, as ShareGPT has it");
  group->add_option("--num-prompts", flags.requests, "Requests")
    ->capture_default_str()
    ->check(CLI::Range(1u, most_requests));
  group->add_option("--seed", flags.seed, "The same seed makes the same requests")->capture_default_str();
  add_length(group, "--random-input-len,--input-len", flags.random_input, "Tokens of a random prompt", 1);
  add_length(group, "--random-output-len,--output-len", flags.random_output, "Tokens of its answer at most", 1);
  group->add_option("--random-range-ratio", flags.random_range, "Both lengths vary by this share, evenly")
    ->capture_default_str()
    ->check(CLI::Range(0.0, 0.999));
  add_length(group, "--random-prefix-len", flags.random_prefix, "Tokens in front that all random prompts share");
  add_length(group, "--prefix-repetition-prefix-len", flags.repeated_prefix, "prefix_repetition: tokens of a prefix");
  add_length(group, "--prefix-repetition-suffix-len", flags.repeated_suffix, "prefix_repetition: tokens after it");
  group
    ->add_option("--prefix-repetition-num-prefixes", flags.repeated_prefixes, "prefix_repetition: different prefixes")
    ->capture_default_str()
    ->check(CLI::Range(1u, most_requests));
  add_length(group, "--prefix-repetition-output-len", flags.repeated_output, "prefix_repetition: tokens of an answer",
             1);
  group
    ->add_option("--sharegpt-output-len", flags.sharegpt_output, "sharegpt: tokens of an answer, not as in the file")
    ->check(CLI::Range(1u, most_length));
  if (has("multi-turn"))
    group->add_option("--multi-turn-turns", flags.turns, "multi-turn: requests of a conversation")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000u));
  group->callback([group, &flags] { check_dataset_options(*group, flags); });
}

void add_load_options(CLI::App* command, load_flags& flags) {
  auto* group = command->add_option_group("Requests");
  group->add_option("--endpoint", flags.endpoint, "/v1/completions or /v1/chat/completions")->capture_default_str();
  group->add_option("--model", flags.model, "What the server calls its model; else the first that it names");
  group->add_option(
    "--tokenizer", flags.tokenizer,
    "A model by name, or a GGUF file, whose tokenizer makes random prompts; else the server's /tokenize");
  group->add_option("--api-key", flags.api_key, "Sent as a bearer's")->envname("OPENAI_API_KEY");
  group->add_option("--num-warmups", flags.warmups, "Requests before that do not count")
    ->capture_default_str()
    ->check(CLI::Range(0u, most_requests));
  group->add_flag("--ignore-eos", flags.ignore_eos, "Answers go on until they have all their tokens");
  group->add_flag("--continuous-usage-stats", flags.continuous_usage,
                  "Ask for the count of tokens with each chunk, of which the peak is then made");
  group->add_option("--temperature", flags.temperature, "Else the server's own")->check(CLI::Range(0.0, 2.0));
  group->add_option("--request-timeout", flags.timeout_s, "Seconds after which a request has failed")
    ->capture_default_str()
    ->check(CLI::Range(1u, 86400u));
  add_dataset_options(command, flags.dataset, {std::begin(dataset_names), std::end(dataset_names)});
}

void add_rate_option(CLI::App* command, load_flags& flags) {
  command->add_option("--request-rate", flags.request_rate, "Requests in a second; inf: all at once")
    ->default_str("inf")
    ->check(more_than_0);
  add_burstiness(command, flags, [&flags] { return std::isfinite(flags.request_rate); });
}

void add_rates_option(CLI::App* command, CLI::App* group, load_flags& flags, std::vector<double>& rates) {
  group->add_option("--request-rates", rates, "Requests in a second, separated by commas; inf is allowed")
    ->delimiter(',')
    ->allow_extra_args(false)
    ->check(more_than_0);
  add_burstiness(command, flags,
                 [&rates] { return std::ranges::any_of(rates, [](double rate) { return std::isfinite(rate); }); });
}

void add_concurrency_option(CLI::App* command, load_flags& flags) {
  command->add_option("--max-concurrency", flags.max_concurrency, "Requests open at once; others wait here")
    ->check(CLI::Range(1u, 1u << 20));
}

void add_told_options(CLI::App* command, load_flags& flags) {
  auto* group = command->add_option_group("Figures");
  group
    ->add_option_function<std::vector<std::string>>(
      "--goodput", [&flags](const std::vector<std::string>& pairs) { add_goodput(pairs, flags.goodput); },
      "ttft:MS tpot:MS e2el:MS, one or more: also tell how many requests a second keep all of them")
    ->type_name("NAME:MS")
    ->expected(1, 3);
  group->add_option("--percentile-metrics", flags.metrics, "Which latencies are told, separated by commas")
    ->delimiter(',')
    ->allow_extra_args(false)
    ->check(CLI::IsMember({"ttft", "tpot", "itl", "e2el"}))
    ->default_str("ttft,tpot,itl,e2el");
}

void add_percentile_option(CLI::App* command, load_flags& flags) {
  command->add_option("--metric-percentiles", flags.percentiles, "Which percentiles of them, separated by commas")
    ->delimiter(',')
    ->allow_extra_args(false)
    ->check(CLI::Range(0.0, 100.0))
    ->default_str("99");
}

void add_report_options(CLI::App* command, report_files& files) {
  command->add_option("--json", files.json, "Write the results into this file, as JSON");
  command->add_option("--html", files.html, "Write a page with pictures into this file");
}

void add_serve_arguments(CLI::App* command, std::vector<std::string>& arguments) {
  command->add_option("SERVE_OPTIONS", arguments,
                      "After --: options of troupe serve, for example -- --model smollm2");
}

} // namespace troupe::cli
