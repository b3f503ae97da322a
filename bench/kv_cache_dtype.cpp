// What one token of one sequence costs after contexts of several lengths, with keys and values in each of their types:
//   kv_cache_dtype MODEL.gguf [--threads N] [--repeat N] [CONTEXT ...]
// The types take turns, 16 tokens at a time, so that what else the machine does meets them alike. Prints medians.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cpu/backends.hpp"
#include "tools/troupe/bench/sequence_batch.hpp"

namespace {

using namespace troupe;

constexpr kv_cache_dtype dtypes[] = {kv_cache_dtype::bf16, kv_cache_dtype::int8};
constexpr std::uint32_t tokens_of_a_turn = 16;

[[noreturn]] void give_up(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

struct arguments {
  std::string model;
  std::uint32_t threads = 0, repeat = 10;
  std::vector<std::uint32_t> contexts;
};

arguments parse(int argc, char** argv) {
  arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--threads" && i + 1 < argc)
      out.threads = static_cast<std::uint32_t>(std::atoi(argv[++i]));
    else if (name == "--repeat" && i + 1 < argc)
      out.repeat = static_cast<std::uint32_t>(std::max(1, std::atoi(argv[++i])));
    else if (out.model.empty() && !name.starts_with("--"))
      out.model = name;
    else if (std::atoi(argv[i]) > 0)
      out.contexts.push_back(static_cast<std::uint32_t>(std::atoi(argv[i])));
    else
      give_up("usage: kv_cache_dtype MODEL.gguf [--threads N] [--repeat N] [CONTEXT ...]");
  }
  if (out.contexts.empty())
    out.contexts = {512, 2048, 8000};
  return out;
}

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
  const auto options = parse(argc, argv);
  auto file = gguf::open(options.model);
  if (!file)
    give_up(file.error().message);
  auto program = make_program(**file);
  if (!program)
    give_up(program.error().message);
  const std::uint32_t more = options.repeat * tokens_of_a_turn, longest = std::ranges::max(options.contexts) + more;
  std::vector<candidate> candidates;
  for (auto dtype : dtypes) {
    auto made = make_cpu_backend(*file, *program,
                                 {.kv_blocks = longest / tokens_per_block + 1,
                                  .max_rows = 512,
                                  .max_logit_rows = 1,
                                  .threads = options.threads,
                                  .kv_dtype = dtype});
    if (!made)
      give_up(made.error().message);
    candidates.push_back({std::move(*made), {}});
    std::printf("%s: %zu bytes a token\n", std::string(to_string(dtype)).c_str(),
                candidates.back().device->block_bytes(0) / tokens_per_block);
  }
  for (auto context : options.contexts) {
    std::vector<cli::sequence_batch> sequences;
    for (auto& each : candidates) {
      sequences.emplace_back(*each.device, *program, 1, context + more, context).step(context);
      each.milliseconds.clear();
    }
    for (std::uint32_t turn = 0; turn < options.repeat; ++turn)
      for (std::size_t i = 0; i < candidates.size(); ++i)
        take_turn(sequences[i], candidates[i].milliseconds);
    const double bf16 = median(candidates[0].milliseconds), int8 = median(candidates[1].milliseconds);
    std::printf("context %u: bf16 %.3f ms (%.1f tokens/s), int8 %.3f ms (%.1f tokens/s), ratio %.3f\n", context, bf16,
                1000 / bf16, int8, 1000 / int8, bf16 / int8);
    std::fflush(stdout);
  }
}
