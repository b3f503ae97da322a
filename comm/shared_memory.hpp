// A group of ranks on one host, threads or processes, over memory that they share.
//
// In each exchange every rank writes into a slot of its own, says so, waits for the others, and reads theirs; two
// slots a rank take turns, so nobody waits to write. A small sum is added up by every rank; of a large one each rank
// adds a part and the others read it. What waits spins for a bounded time and then sleeps in the kernel; between steps
// nobody waits.
//
// Between each two ranks, in each direction, there is a queue of two more slots for send and receive.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/memory_segment.hpp"

namespace troupe {

struct shared_group_options {
  std::vector<unsigned> shards;       ///< Logical shards of each rank: as many numbers as ranks, each at least 1.
  std::uint64_t epoch = 0;            ///< Who joins with another is refused.
  std::size_t slot_bytes = 1 << 18;   ///< What one exchange carries for a rank at most; a multiple of 64.
  std::chrono::microseconds spin{200}; ///< How long a call spins before it sleeps.
  bool operator==(const shared_group_options&) const = default;
};

/// The memory of a group. Owner: the executor, for as long as ranks may still join.
class shared_group {
public:
  /// Errors: invalid_argument (no ranks, more than 64, sizes), out_of_memory, io.
  static expected<shared_group> create(const shared_group_options& options);

  /// For `join_shared_group`, here or in another process of the same user.
  std::string address() const { return segment_.address(); }
  /// Fails all calls of all ranks, as any rank's `abort` does.
  void abort();

private:
  explicit shared_group(memory_segment segment) : segment_(std::move(segment)) {}
  memory_segment segment_;
};

/// One rank of a group, which joins once. Errors: unavailable (the group is gone or aborted), malformed (no group, or one
/// of other sizes or shards), version_mismatch (another epoch), invalid_argument (no such rank).
expected<std::unique_ptr<communicator>> join_shared_group(const std::string& address,
                                                          const shared_group_options& options, unsigned rank);

} // namespace troupe
