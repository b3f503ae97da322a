// Groups of ranks by NCCL, which is opened when the first one is wanted: a program that links this starts, and runs one device, where it is
// not. It needs 2.18 or later. Groups are made without blocking, so no call of the host waits for another rank.
#pragma once

#include <functional>
#include <memory>

#include "gpu/collectives.hpp"

typedef struct CUstream_st* cudaStream_t;

namespace troupe::gpu::cuda {

/// A stream by its number; makes its device the thread's current one.
using stream_finder = std::function<expected<cudaStream_t>(stream_id)>;

/// Errors: unavailable (no library of a known version, or none when this was compiled).
expected<group_id> make_nccl_id();

/// For the current device. Errors: those of `runtime::join_group`.
expected<std::unique_ptr<collectives>> join_nccl_group(const group_id& id, unsigned rank, unsigned ranks,
                                                       stream_finder stream_of);

} // namespace troupe::gpu::cuda
