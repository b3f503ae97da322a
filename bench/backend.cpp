// Speed of a backend by itself, without actors: the same work as bench/peers/run gives to the peers.
//   backend MODEL [--backend cpu|reference] [--arithmetic int8|bf16] [--threads N] [--repeat N] [--only prefill512|decode1|batch8|batch32]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/backends.hpp"
#include "tools/troupe/bench/sequence_batch.hpp"

namespace {

using namespace troupe;
using namespace std::string_view_literals;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

[[noreturn]] void give_up(const error& what) {
  std::fprintf(stderr, "%s\n", what.message.c_str());
  std::exit(1);
}

struct arguments {
  std::string model, backend = "cpu", only;
  bool wants(const std::string& work) const { return only.empty() || only == work; }
  std::uint32_t threads = 0, repeat = 3;
  cpu_arithmetic arithmetic = cpu_arithmetic::int8;
};

arguments parse(int argc, char** argv) {
  arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const char* value = name.starts_with("--") && i + 1 < argc ? argv[++i] : nullptr;
    if (name == "--backend" && value)
      out.backend = value;
    else if (name == "--arithmetic" && value && (value == "int8"sv || value == "bf16"sv))
      out.arithmetic = value == "bf16"sv ? cpu_arithmetic::bf16 : cpu_arithmetic::int8;
    else if (name == "--only" && value)
      out.only = value;
    else if (name == "--threads" && value)
      out.threads = static_cast<std::uint32_t>(std::atoi(value));
    else if (name == "--repeat" && value)
      out.repeat = static_cast<std::uint32_t>(std::atoi(value));
    else if (!name.starts_with("--") && out.model.empty())
      out.model = name;
    else
      give_up({errc::invalid_argument,
               "usage: backend MODEL [--backend cpu|reference] [--arithmetic int8|bf16] [--threads N] "
               "[--repeat N] [--only prefill512|decode1|batch8|batch32]"});
  }
  return out;
}

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
  const auto options = parse(argc, argv);
  const auto start = clock_type::now();
  auto file = gguf::open(options.model);
  if (!file)
    give_up(file.error());
  auto program = make_program(**file);
  if (!program)
    give_up(program.error());
  const backend_options sizes{.kv_blocks = 512,
                              .max_rows = 512,
                              .max_logit_rows = 64,
                              .threads = options.threads,
                              .arithmetic = options.arithmetic};
  const auto make = options.backend == "reference" ? make_reference_backend : make_cpu_backend;
  auto made = make(*file, *program, sizes);
  if (!made)
    give_up(made.error());
  std::printf("troupe load_ms %.0f (%s)\n", seconds_since(start) * 1000, std::string((*made)->name()).c_str());
  print_resident("after_load");
  for (std::uint32_t round = 0; round < options.repeat; ++round) {
    if (options.wants("prefill512") || options.wants("decode1"))
      measure_one(**made, *program, options, round);
    for (std::uint32_t count : {8u, 32u}) {
      if (!options.wants("batch" + std::to_string(count)))
        continue;
      cli::sequence_batch many(**made, *program, count, 128, round);
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
