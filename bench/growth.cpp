// How a pass grows with what it is given, without actors:
//   growth MODEL [--threads N] [--repeat N]
// Prints a line for each measurement, `NAME SIZE MILLISECONDS`, the median of several passes:
//   decode_context N   one token of one sequence that has N tokens
//   decode_batch N     one token of each of N sequences that have 64 tokens
//   prefill N          a prompt of N tokens, in passes of 512 rows
// bench/plot_growth draws them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/support.hpp"
#include "cpu/backends.hpp"
#include "tools/troupe/bench/sequence_batch.hpp"

namespace {

using namespace troupe;

constexpr std::uint32_t contexts[] = {16, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 7168, 8000};
constexpr std::uint32_t batches[] = {1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};
constexpr std::uint32_t prompts[] = {1, 4, 16, 17, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8000};
constexpr std::uint32_t longest = 8192, most_sequences = 256, batch_context = 64, decodes = 8;

double milliseconds_of(cli::sequence_batch& sequences, std::uint32_t rows) {
  const auto start = std::chrono::steady_clock::now();
  sequences.step(rows);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void print(const char* name, std::uint32_t size, std::vector<double>& times) {
  std::ranges::sort(times);
  std::printf("%s %u %.3f\n", name, size, times[times.size() / 2]);
  std::fflush(stdout);
  times.clear();
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("How a pass grows with what it is given");
  std::string path;
  std::uint32_t threads = 0, repeat = 3;
  app.add_option("MODEL", path)->required();
  app.add_option("--threads", threads);
  app.add_option("--repeat", repeat)->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  const auto [file, program] = bench::open_model(path);
  constexpr std::uint32_t blocks =
    std::max(longest, most_sequences * (batch_context + decodes + tokens_per_block)) / tokens_per_block;
  const auto device = bench::or_give_up(make_cpu_backend(
    file, program, {.kv_blocks = blocks, .max_rows = 512, .max_logit_rows = most_sequences, .threads = threads}));
  std::vector<double> times;
  for (auto context : contexts) {
    cli::sequence_batch one(*device, program, 1, longest, context);
    one.step(context);
    for (std::uint32_t i = 0; i < std::min(decodes * repeat, longest - context); ++i)
      times.push_back(milliseconds_of(one, 1));
    print("decode_context", context, times);
  }
  for (auto count : batches) {
    for (std::uint32_t round = 0; round < repeat; ++round) {
      cli::sequence_batch many(*device, program, count, batch_context + decodes, round);
      many.step(batch_context);
      for (std::uint32_t i = 0; i < decodes; ++i)
        times.push_back(milliseconds_of(many, 1));
    }
    print("decode_batch", count, times);
  }
  for (auto prompt : prompts) {
    for (std::uint32_t round = 0; round < repeat; ++round) {
      cli::sequence_batch one(*device, program, 1, longest, round);
      times.push_back(milliseconds_of(one, prompt));
    }
    print("prefill", prompt, times);
  }
}
