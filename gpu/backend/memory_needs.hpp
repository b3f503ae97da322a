// How a worker comes to the memory that it needs: what it will want is counted first, and waited for.
#pragma once

#include <chrono>
#include <memory>

#include "gpu/memory.hpp"
#include "gpu/runtime.hpp"

namespace troupe::gpu {

/// A driver that takes a dead process's memory back, tens of GiB of it, is done in a few seconds.
inline constexpr std::chrono::milliseconds usual_patience{20000};

/// With exactly the blocks that the options say. Errors: unsupported.
expected<gpu_memory_needs> count_needs(std::shared_ptr<const gguf::file> file, const model_program& program,
                                       const backend_options& options);

/// Until the device has room for weights, buffers and cache: the bytes that are free then. It waits for nobody where the device is too
/// small. Errors: out_of_memory (not within so long), and those of the device.
expected<std::uint64_t> wait_for_memory(runtime& device, const gpu_memory_needs& needs, std::uint32_t kv_blocks,
                                        std::chrono::milliseconds patience);

} // namespace troupe::gpu
