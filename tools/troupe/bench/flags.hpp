// The options of `troupe bench`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/troupe/bench/load_flags.hpp"
#include "tools/troupe/bench/machine.hpp"
#include "tools/troupe/bench/setting_search.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

/// Where a server is; with neither option there is none, and `sweep` starts one.
struct server_flags {
  std::string base_url;           ///< --base-url
  std::string host = "127.0.0.1"; ///< --host
  std::uint16_t port = 8000;      ///< --port
  bool given = false;             ///< Whether one of them was.
};

/// `troupe bench roofline`.
struct roofline_flags {
  std::string model = "smollm2";
  std::uint32_t threads = 0; ///< 0: all that the process may use
  std::uint32_t repeat = 5;  ///< Measurements of a phase, of which the median counts.
  std::string svg;           ///< --svg: where a picture goes, if not empty
  bool json = false;
};

struct serve_bench_flags {
  server_flags server;
  load_flags load;
  report_files files;
  bool save_detailed = false; ///< --save-detailed: of each request, in --json
};

struct latency_flags {
  engine_flags engine;
  std::uint32_t input = 32, output = 128, batch = 8; ///< --input-len, --output-len, --batch-size
  std::uint32_t iterations = 30, warmups = 10;       ///< --num-iters, --num-iters-warmup
  report_files files;
};

struct throughput_flags {
  engine_flags engine;
  dataset_flags dataset;
  report_files files;
};

struct startup_flags {
  std::uint32_t repeat = 5;       ///< --num-iters
  bool cold = false;              ///< --cold: the model's file is not in memory
  std::vector<std::string> serve; ///< Arguments of `troupe serve`.
  report_files files;
};

struct sweep_flags {
  server_flags server;
  load_flags load;
  std::vector<double> rates;                ///< --request-rates
  std::vector<std::uint32_t> concurrencies; ///< --max-concurrencies
  std::vector<std::string> serve;
  report_files files;
};

struct tune_flags {
  load_flags load;
  std::vector<searched_option> options; ///< --search: each has a value at least
  search_limits limits;                 ///< --num-iters, --max-settings, --min-gain
  /// --max-p99-ttft-ms and so on: 0 is no bound.
  double most_ttft_ms = 0, most_tpot_ms = 0, most_itl_ms = 0, most_e2el_ms = 0;
  std::vector<std::string> serve;
  report_files files;
};

int bench_roofline(const roofline_flags& flags);
int bench_serve(const serve_bench_flags& flags);
int bench_latency(const latency_flags& flags);
int bench_throughput(const throughput_flags& flags);
int bench_startup(const startup_flags& flags);
int bench_sweep(const sweep_flags& flags);
int bench_tune(const tune_flags& flags);

} // namespace troupe::cli
