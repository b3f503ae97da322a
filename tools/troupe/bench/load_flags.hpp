// What a load of requests is, and what is told of it: the options that `serve`, `sweep` and `tune` share.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tools/troupe/bench/datasets.hpp"
#include "tools/troupe/bench/serving_metrics.hpp"

namespace troupe::cli {

struct load_flags {
  std::string endpoint = "/v1/completions"; ///< --endpoint
  std::string model;                        ///< --model: empty: the first that /v1/models names
  std::string api_key;                      ///< --api-key, or OPENAI_API_KEY
  std::string tokenizer;                    ///< --tokenizer: a model here; empty: the server's /tokenize
  dataset_flags dataset;
  double request_rate = std::numeric_limits<double>::infinity(); ///< --request-rate: in a second
  double burstiness = 1;                                         ///< --burstiness
  std::optional<std::uint32_t> max_concurrency;                  ///< --max-concurrency
  std::uint32_t warmups = 0;                                     ///< --num-warmups: requests before, not counted
  bool ignore_eos = false;                                       ///< --ignore-eos
  bool continuous_usage = false;                                 ///< --continuous-usage-stats
  std::optional<double> temperature;                             ///< --temperature
  std::uint32_t timeout_s = 6 * 60 * 60; ///< --request-timeout, as long as vLLM's client waits
  goodput_bounds goodput;                ///< --goodput
  std::vector<std::string> metrics{"ttft", "tpot", "itl", "e2el"}; ///< --percentile-metrics
  std::vector<double> percentiles{99};                             ///< --metric-percentiles
};

/// What was measured, of which load.
struct serving_result {
  load_flags load;
  std::string machine;            ///< Of the client, and of the server where that is a child.
  std::string server;             ///< Its URL,
  std::string model;              ///< and what it calls its model.
  std::vector<std::string> serve; ///< With which options it was started, where it is a child.
  std::vector<request_outcome> outcomes;
  serving_metrics metrics;
};

} // namespace troupe::cli
