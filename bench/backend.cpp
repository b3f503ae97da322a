// Speed of a backend by itself, without actors: the same work as bench/peers/run gives to the peers.
//   backend MODEL [--backend cpu|reference] [--cpu-arithmetic int8|bf16] [--kv-cache-dtype bf16|int8]
//           [--threads N] [--repeat N] [--only prefill512|decode1|batch8|batch32]
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include <CLI/CLI.hpp>

#include "bench/device_options.hpp"
#include "bench/support.hpp"
#include "cpu/backends.hpp"
#include "tools/troupe/bench/sequence_batch.hpp"

namespace {

using namespace troupe;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

struct arguments {
  std::string model, backend = "cpu", only;
  bool wants(const std::string& work) const { return only.empty() || only == work; }
  std::uint32_t repeat = 3;
  backend_options device{.kv_blocks = 512, .max_rows = 512, .max_logit_rows = 64};
};

void print_resident(const char* when) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS"))
      std::printf("troupe resident_mib %s %.0f\n", when, std::atof(line.c_str() + 6) / 1024);
}

void measure_one(backend& on, const model_program& program, const arguments& options, std::uint32_t round) {
  cli::sequence_batch one(on, program, 1, 600, round);
  auto from = clock_type::now();
  one.step(512);
  std::printf("troupe prefill512_tok_s %.1f\n", 512 / seconds_since(from));
  if (!options.wants("decode1"))
    return;
  from = clock_type::now();
  for (int i = 0; i < 64; ++i)
    one.step(1);
  std::printf("troupe decode1_tok_s %.1f\n", 64 / seconds_since(from));
}

} // namespace

int main(int argc, char** argv) {
  arguments options;
  CLI::App app("A backend on the peers' work, without actors");
  app.add_option("MODEL", options.model)->required();
  app.add_option("--backend", options.backend)->check(CLI::IsMember({"cpu", "reference"}));
  bench::add_device_options(app, options.device);
  app.add_option("--repeat", options.repeat)->check(CLI::Range(1, 1000));
  app.add_option("--only", options.only)->check(CLI::IsMember({"prefill512", "decode1", "batch8", "batch32"}));
  CLI11_PARSE(app, argc, argv);
  const auto start = clock_type::now();
  const auto [file, program] = bench::open_model(options.model);
  const auto make = options.backend == "reference" ? make_reference_backend : make_cpu_backend;
  const auto device = bench::or_give_up(make(file, program, options.device));
  std::printf("troupe load_ms %.0f (%s)\n", seconds_since(start) * 1000, std::string(device->name()).c_str());
  print_resident("after_load");
  for (std::uint32_t round = 0; round < options.repeat; ++round) {
    if (options.wants("prefill512") || options.wants("decode1"))
      measure_one(*device, program, options, round);
    for (std::uint32_t count : {8u, 32u}) {
      if (!options.wants("batch" + std::to_string(count)))
        continue;
      cli::sequence_batch many(*device, program, count, 128, round);
      const auto from = clock_type::now();
      many.step(64);
      const double prefill = seconds_since(from);
      for (int i = 0; i < 64; ++i)
        many.step(1);
      const double all = seconds_since(from);
      std::printf("troupe batch%u_out_tok_s %.1f (decode alone %.1f)\n", count, count * 64 / all,
                  count * 64 / (all - prefill));
    }
  }
  print_resident("after_all");
}
