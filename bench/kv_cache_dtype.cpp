// What one token of one sequence costs after contexts of several lengths, with keys and values in each of their types:
//   kv_cache_dtype MODEL.gguf [--threads N] [--repeat N] [CONTEXT ...]
// The types take turns, 16 tokens at a time, so that what else the machine does meets them alike. Prints medians.
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

constexpr kv_cache_dtype dtypes[] = {kv_cache_dtype::bf16, kv_cache_dtype::int8};
constexpr std::uint32_t tokens_of_a_turn = 16;

struct candidate {
  std::unique_ptr<backend> device;
  std::vector<double> milliseconds;
};

void take_turn(cli::sequence_batch& one, std::vector<double>& milliseconds) {
  for (std::uint32_t i = 0; i < tokens_of_a_turn; ++i) {
    const auto start = std::chrono::steady_clock::now();
    one.step(1);
    milliseconds.push_back(
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
}

double median(std::vector<double>& of) {
  std::ranges::sort(of);
  return of[of.size() / 2];
}

} // namespace

int main(int argc, char** argv) {
  std::string model;
  std::uint32_t threads = 0, repeat = 10;
  std::vector<std::uint32_t> contexts{512, 2048, 8000};
  CLI::App app("Keys and values in each of their types");
  app.add_option("MODEL", model)->required();
  app.add_option("CONTEXT", contexts)->check(CLI::Range(1u, 1u << 20));
  app.add_option("--threads", threads);
  app.add_option("--repeat", repeat)->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  const auto [file, program] = bench::open_model(model);
  const std::uint32_t more = repeat * tokens_of_a_turn, longest = std::ranges::max(contexts) + more;
  std::vector<candidate> candidates;
  for (auto dtype : dtypes) {
    candidates.push_back({bench::or_give_up(make_cpu_backend(file, program,
                                                             {.kv_blocks = longest / tokens_per_block + 1,
                                                              .max_rows = 512,
                                                              .max_logit_rows = 1,
                                                              .threads = threads,
                                                              .kv_dtype = dtype})),
                          {}});
    std::printf("%s: %zu bytes a token\n", std::string(to_string(dtype)).c_str(),
                candidates.back().device->block_bytes(0) / tokens_per_block);
  }
  for (auto context : contexts) {
    std::vector<cli::sequence_batch> sequences;
    for (auto& each : candidates) {
      sequences.emplace_back(*each.device, program, 1, context + more, context).step(context);
      each.milliseconds.clear();
    }
    for (std::uint32_t turn = 0; turn < repeat; ++turn)
      for (std::size_t i = 0; i < candidates.size(); ++i)
        take_turn(sequences[i], candidates[i].milliseconds);
    const double bf16 = median(candidates[0].milliseconds), int8 = median(candidates[1].milliseconds);
    std::printf("context %u: bf16 %.3f ms (%.1f tokens/s), int8 %.3f ms (%.1f tokens/s), ratio %.3f\n", context, bf16,
                1000 / bf16, int8, 1000 / int8, bf16 / int8);
    std::fflush(stdout);
  }
}
