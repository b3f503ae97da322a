// A GPU by itself, without actors: its memory, each kernel's share of what the memory gives at most, and a model's steps. One JSON object.
//   gpu MODEL [--device cuda|cuda-shim] [--quick]
//
// Kernels are timed by the host's clock over graphs of launches one after the other, each with data of its own, so that neither launches
// nor caches count. With --quick everything is small: for the shim, whose times mean nothing.
#include <chrono>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/gpu_kernels.hpp"
#include "bench/support.hpp"
#include "gpu/backends.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#include "tools/troupe/bench/sequence_batch.hpp"
#ifdef TROUPE_CUDA
#include "gpu/cuda/runtime.hpp"
#endif

namespace {

using namespace troupe;
using json = nlohmann::ordered_json;

struct arguments {
  std::string model, device = "cuda";
  bool quick = false;
};

std::unique_ptr<gpu::runtime> open(const arguments& options) {
  if (options.device == "cuda-shim")
    return std::make_unique<gpu::shim::shim_runtime>(gpu::shim_kernels(), gpu::shim::shim_options{});
#ifdef TROUPE_CUDA
  return bench::or_give_up(gpu::cuda::open(0, gpu::device_kernels()));
#else
  bench::give_up("This build has no CUDA.");
#endif
}

json facts_of(const arguments& options) {
  if (options.device == "cuda-shim")
    return {{"name", "the shim"}};
#ifdef TROUPE_CUDA
  const auto facts = bench::or_give_up(gpu::cuda::facts_of(0));
  return {{"name", facts.name},
          {"capability", facts.capability},
          {"multiprocessors", facts.multiprocessors},
          {"clock_mhz", facts.clock_mhz},
          {"memory_gb_s", facts.memory_bytes_per_second / 1e9},
          {"cuda_driver", facts.driver},
          {"cuda_runtime", facts.runtime}};
#else
  return {};
#endif
}

expected<std::unique_ptr<backend>> make_backend([[maybe_unused]] const std::string& device,
                                                std::shared_ptr<const gguf::file> file, const model_program& program,
                                                const backend_options& sizes) {
#ifdef TROUPE_CUDA
  if (device == "cuda")
    return make_cuda_backend(std::move(file), program, sizes);
#endif
  return make_shim_backend(std::move(file), program, sizes);
}

/// Prompts of 512 tokens, and single tokens of many sequences.
json measure_model(const arguments& options) {
  const auto [file, program] = bench::open_model(options.model);
  const std::vector<std::uint32_t> batches =
    options.quick ? std::vector<std::uint32_t>{1, 3} : std::vector<std::uint32_t>{1, 8, 32, 128};
  const std::uint32_t prompt = options.quick ? 24 : 512, context = options.quick ? 8 : 128,
                      steps = options.quick ? 3 : 64;
  backend_options sizes;
  sizes.max_rows = 512;
  sizes.max_logit_rows = batches.back();
  const auto blocks_of = [](std::uint32_t tokens) { return (tokens + tokens_per_block - 1) / tokens_per_block; };
  sizes.kv_blocks = std::max(batches.back() * blocks_of(context + steps), blocks_of(prompt));
  const auto start = bench::clock_type::now();
  const auto made = bench::or_give_up(make_backend(options.device, file, program, sizes));
  auto& on = *made;
  json out{{"load_s", bench::seconds_since(start)}};
  for (int round = 0; round < (options.quick ? 1 : 3); ++round) { // The first one chooses cuBLASLt's algorithms.
    cli::sequence_batch one(on, program, 1, prompt, 1);
    const auto from = bench::clock_type::now();
    one.step(prompt);
    out["prefill"] = {{"tokens", prompt}, {"tok_s", prompt / bench::seconds_since(from)}};
  }
  for (const auto count : batches) {
    cli::sequence_batch many(on, program, count, context + steps, 1);
    many.step(context - 2);
    many.step(1);
    many.step(1); // Makes the graph.
    const auto from = bench::clock_type::now();
    for (std::uint32_t i = 0; i < steps; ++i)
      many.step(1);
    out["decode"].push_back({{"batch", count}, {"tok_s", count * steps / bench::seconds_since(from)}});
  }
  return out;
}

} // namespace

int main(int argc, char** argv) {
  arguments options;
  CLI::App app("A GPU by itself, without actors");
  app.add_option("MODEL", options.model)->required();
  app.add_option("--device", options.device)->check(CLI::IsMember({"cuda", "cuda-shim"}));
  app.add_flag("--quick", options.quick);
  CLI11_PARSE(app, argc, argv);
  json out{{"device", facts_of(options)}};
  const double peak = out["device"].value("memory_gb_s", 0.0) * 1e9;
  {
    const auto device = open(options);
    out["transfers"] = bench::measure_transfers(*device, options.quick);
    out["kernels"] = bench::measure_kernels(*device, options.quick, peak);
  }
  out["model"] = measure_model(options);
  std::printf("%s\n", out.dump(2).c_str());
}
