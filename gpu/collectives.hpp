// What joins the devices of several ranks: sums, gathering, messages. NCCL on CUDA (gpu/cuda/nccl.hpp), shared memory on the shim
// (gpu/shim/collectives.hpp), which has faults on demand; the same host code uses both.
//
// A call queues something on a stream, as a launch does, and never waits for another rank. What waits is the stream: until all ranks
// have come, for ever if one does not. Nobody may wait for such a stream as for others (`runtime::synchronize` would not return): whoever
// wants its end asks events and `state` again and again, and aborts when he has waited enough (gpu/backend/rank_group.hpp).
//
// All ranks make the same calls in the same order. A group belongs to one epoch of the host's communicator, and is of no use after an
// error: the next epoch makes a new one.
//
// Owner: the thread of its runtime, which outlives it. Its end is an abort. Errors of all calls: unavailable (the group has failed or was
// aborted, here or by another rank, where that shows), invalid_argument (no such stream or rank; a call while the one before is in
// progress; a stream that is captured: graphs have no collectives).
//
// Source: NCCL's user guide, "Creating a communicator with options", "Fault Tolerance", "Group Calls".
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu/runtime.hpp"

namespace troupe::gpu {

enum class group_state : std::uint8_t {
  in_progress, ///< The group is being made, or what was called last is not on its stream yet: until it is, nothing more may be queued there.
  ready,
};

class collectives {
public:
  virtual ~collectives() = default;

  virtual unsigned rank() const = 0;
  virtual unsigned size() const = 0;

  /// Also brings on what is in progress. Errors: unavailable (what has gone wrong, also on the stream).
  virtual expected<group_state> state() = 0;

  /// to[i] = the sum of all ranks' from[i], float32, the same bits on every rank, in an order that is the library's own: it may depend
  /// on i and on the count. `from` may be `to`.
  virtual expected<void> all_reduce(stream_id on, address from, address to, std::size_t count) = 0;
  /// to: [size()][bytes], what each rank has in `from`. That may be this rank's part of `to`.
  virtual expected<void> all_gather(stream_id on, address from, address to, std::size_t bytes) = 0;
  /// To another rank, which receives as many bytes.
  virtual expected<void> send(stream_id on, address from, std::size_t bytes, unsigned to) = 0;
  virtual expected<void> receive(stream_id on, address to, std::size_t bytes, unsigned from) = 0;

  /// What is called between the two is one thing on one stream, and no part of it waits for another: so ranks may send to each other.
  virtual expected<void> begin_together() = 0;
  virtual expected<void> end_together() = 0;

  /// Ends what is on streams and lets them go on; what was to come there means nothing. Tells no other rank.
  virtual expected<void> abort() = 0;
};

} // namespace troupe::gpu
