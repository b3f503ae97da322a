// What a worker wants of its device's memory, known without a device, and the KV cache that the device has room for then.
//
// The engine's own process opens no CUDA device: a context of its own would keep memory that workers want. It counts what each worker
// will allocate, by the code that allocates it (gpu/backend/counting_device.hpp), and asks a process that ends at once what the
// devices have (`troupe devices`). So the number of blocks is known before there is a planner, and is the same for a worker's successor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/backend.hpp"
#include "model/gguf/file.hpp"

namespace troupe {

namespace gpu {

/// That graphs may have together (gpu/backend/graph_cache.hpp).
inline constexpr std::uint64_t graph_room_bytes = std::uint64_t{256} << 20;
/// For the code that CUDA's libraries bring to the device when a shape first comes, and for what allocations are rounded up to
/// beyond what is counted. Nobody has measured it on a device yet.
inline constexpr std::uint64_t library_room_bytes = std::uint64_t{256} << 20;
/// For the group of a model's ranks: NCCL makes its buffers when the group is made, in the first step. Not measured, either.
inline constexpr std::uint64_t group_room_bytes = std::uint64_t{512} << 20;

} // namespace gpu

/// Of one worker, in bytes.
struct gpu_memory_needs {
  std::uint64_t weights = 0;
  std::uint64_t buffers = 0; ///< Of steps, large products and RoPE's angles.
  std::uint64_t rounding =
    0; ///< By so much CUDA makes these larger, at most: large allocations are whole pages of 2 MiB.
  std::uint64_t block = 0;      ///< Of the KV cache: one block of all of the worker's layers.
  std::uint64_t own_blocks = 0; ///< That it has beside those of sequences.
  /// Left free, for what comes when it runs.
  std::uint64_t graphs = gpu::graph_room_bytes, libraries = gpu::library_room_bytes;

  std::uint64_t cache(std::uint64_t kv_blocks) const { return (kv_blocks + own_blocks) * block; }
  /// All but sequences' blocks.
  std::uint64_t without_blocks() const { return weights + buffers + rounding + graphs + libraries + cache(0); }
};

/// Of a backend with these options; `kv_blocks` counts where fewer positions fit than the model's context has. Errors: unsupported.
expected<gpu_memory_needs> gpu_needs_of(std::shared_ptr<const gguf::file> file, const model_program& program,
                                        const backend_options& options);

/// A device, as a process that has opened it sees it: what that itself takes is not free.
struct gpu_device {
  std::string name;
  std::uint64_t free_bytes = 0, total_bytes = 0;
};

/// The first `most` CUDA devices that this process sees, each of which it opens: for a process that ends then. Errors: unavailable
/// (no device, or one that does not answer); none of this where the build has no CUDA.
expected<std::vector<gpu_device>> cuda_devices(unsigned most);

/// Blocks of the KV cache that fit, where a worker may have this share of all of the device's memory. Errors: out_of_memory, in words
/// that say what wants how much; with `retry_after_ms` where what is missing may become free.
expected<std::uint32_t> kv_blocks_in(const gpu_device& device, double share, const gpu_memory_needs& needs);

/// "NVIDIA H100: 81559 MiB, of which a worker may have 0.9: weights 990, ..., KV cache 69000 MiB": for an operator.
std::string account_of(const gpu_device& device, double share, const gpu_memory_needs& needs,
                       std::uint32_t kv_blocks);

} // namespace troupe
