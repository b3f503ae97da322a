#include "gpu/backend/memory_needs.hpp"

#include <algorithm>
#include <limits>
#include <thread>

#include <fmt/format.h>

#include "gpu/backend/counting_device.hpp"
#include "gpu/backend/gpu_backend.hpp"

namespace troupe {

namespace {

constexpr std::uint64_t mib(std::uint64_t bytes) {
  return bytes >> 20;
}

std::string parts_of(const gpu_memory_needs& needs) {
  return fmt::format("weights {}, buffers {}", mib(needs.weights), mib(needs.buffers + needs.rounding));
}

/// What is left free, where it is.
std::string rooms_of(const gpu_memory_needs& needs) {
  const auto graphs = needs.graphs > 0 ? fmt::format("graphs {}, ", mib(needs.graphs)) : "";
  return fmt::format("{}CUDA's libraries {}", graphs, mib(needs.libraries));
}

std::uint64_t bytes_of_share(const gpu_device& device, double share) {
  return static_cast<std::uint64_t>(static_cast<double>(device.total_bytes) * share);
}

} // namespace

namespace gpu {

expected<gpu_memory_needs> count_needs(std::shared_ptr<const gguf::file> file, const model_program& program,
                                       const backend_options& options) {
  auto device = std::make_unique<counting_device>();
  const auto& counter = *device;
  gpu_backend counted(std::move(device), "", std::move(file), program, options);
  return counted.count().map([&](gpu_memory_needs needs) {
    needs.rounding = counter.rounding();
    return needs;
  });
}

expected<std::uint64_t> wait_for_memory(runtime& device, const gpu_memory_needs& needs, std::uint32_t kv_blocks,
                                        std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds moment{100};
  const auto wanted = needs.weights + needs.buffers + needs.cache(kv_blocks);
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto now = device.memory();
    if (!now)
      return tl::unexpected(now.error());
    if (now->free_bytes >= wanted)
      return now->free_bytes;
    const auto parts =
      fmt::format("{} MiB ({}, KV cache {})", mib(wanted), parts_of(needs), mib(needs.cache(kv_blocks)));
    if (now->total_bytes < wanted)
      return fail(errc::out_of_memory,
                  fmt::format("A worker wants {} of a device that has {} MiB in all: give it a smaller KV "
                              "cache (--kv-tokens), or share the model among several devices.",
                              parts, mib(now->total_bytes)));
    if (std::chrono::steady_clock::now() >= end)
      return fail(
        errc::out_of_memory,
        fmt::format("A worker wants {}, and of the device's {} MiB only {} are free, after {} s of waiting: another "
                    "process has the others. End that one, or give the KV cache less (--kv-tokens, "
                    "--gpu-memory-utilization).",
                    parts, mib(now->total_bytes), mib(now->free_bytes),
                    std::chrono::duration_cast<std::chrono::seconds>(patience).count()));
    std::this_thread::sleep_for(std::min(moment, patience));
  }
}

} // namespace gpu

expected<gpu_memory_needs> gpu_needs_of(std::shared_ptr<const gguf::file> file, const model_program& program,
                                        const backend_options& options) {
  auto with_context = options; // The cache is not known yet, and buffers for all positions are no less.
  with_context.kv_blocks = (program.context_length + tokens_per_block - 1) / tokens_per_block;
  return gpu::count_needs(std::move(file), program, with_context);
}

expected<std::uint32_t> kv_blocks_in(const gpu_device& device, double share, const gpu_memory_needs& needs) {
  const auto limit = bytes_of_share(device, share);
  if (device.free_bytes < limit) {
    constexpr std::uint32_t moment_ms = 1000; // One of them may be ending.
    return tl::unexpected(error{
      errc::out_of_memory,
      fmt::format("A worker may have {} MiB of {}'s {} (--gpu-memory-utilization {:g}), and only {} are free: other "
                  "processes, or the driver, have the rest. End them, or give a smaller share.",
                  mib(limit), device.name, mib(device.total_bytes), share, mib(device.free_bytes)),
      moment_ms});
  }
  const auto without = needs.without_blocks();
  const auto blocks = limit > without ? (limit - without) / needs.block : 0;
  if (blocks == 0)
    return fail(
      errc::out_of_memory,
      fmt::format("Nothing is left for the KV cache of the {} MiB that a worker may have of {}'s {} "
                  "(--gpu-memory-utilization {:g}): {}, and left free for {}. Share the model among several devices "
                  "(--tensor-parallel-size, --pipeline-parallel-size), or give a larger share.",
                  mib(limit), device.name, mib(device.total_bytes), share, parts_of(needs), rooms_of(needs)));
  constexpr std::uint64_t most = (std::uint64_t{1} << 28) / tokens_per_block; // As --kv-tokens has at most.
  return static_cast<std::uint32_t>(std::min(blocks, most));
}

std::string account_of(const gpu_device& device, double share, const gpu_memory_needs& needs,
                       std::uint32_t kv_blocks) {
  return fmt::format(
    "{}, {} MiB, of which a worker may have {} (--gpu-memory-utilization {:g}): {}, KV cache {} ({} tokens); "
    "left free for {}",
    device.name, mib(device.total_bytes), mib(bytes_of_share(device, share)), share, parts_of(needs),
    mib(needs.cache(kv_blocks)), std::uint64_t{kv_blocks} * tokens_per_block, rooms_of(needs));
}

} // namespace troupe
