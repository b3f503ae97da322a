// How many blocks the KV cache has where nobody says: what the devices of all workers have room for.
#pragma once

#include "model/model.hpp"
#include "protocol/log.hpp"
#include "tools/troupe/options.hpp"
#include "tools/troupe/worker_device.hpp"

namespace troupe::cli {

/// Of --gpu-memory-utilization, where nobody says.
inline constexpr double usual_memory_share = 0.9;

/// Whether the KV cache is as large as devices allow, and not what --kv-tokens or its default says: on CUDA devices, unless that is
/// given; on the shim where a share is given.
bool is_kv_measured(const engine_flags& flags);

/// The least of all workers, each of which has a device of its own; says the account of each. It waits a while for memory that a
/// process which is ending still has. device: complete but for its `kv_blocks`. Errors: out_of_memory, unavailable, unsupported.
expected<std::uint32_t> measured_kv_blocks(const engine_flags& flags, const worker_device& device,
                                           const model& source, const logger& log);

} // namespace troupe::cli
