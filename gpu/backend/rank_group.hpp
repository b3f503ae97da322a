// A rank's device among those of its model: sums over ranks that never leave the devices, and the watchdog over them.
//
// A device that waits for another rank waits for ever, and so would a host that waits for it. So this host never does: it asks whether
// what it has queued is done, whether the devices' group still works, and whether the host's is broken, which is how a raised epoch comes
// here (docs/parallelism.md). After each sum there is an event, and from one to the next no more time may pass than a call of the host's
// group may take. When it has passed, or something has failed, both groups are aborted: the device lets go, the other ranks hear of it
// by the host's group, and the error is `unavailable` as that group's own are. A new epoch makes a new worker, and with it a new group.
//
// A stream has room for about a thousand launches, and whoever queues one more waits for it, for ever if need be: so the host is never more
// than a few sums ahead of the device.
//
// The id comes by the host's group, from rank 0: that group belongs to the epoch, has a deadline, and is aborted with it.
//
// Owner: the backend; one thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "comm/communicator.hpp"
#include "gpu/collectives.hpp"

namespace troupe::gpu {

class rank_group {
public:
  /// device: outlives it. timeout: for each call of the group.
  rank_group(runtime& device, std::shared_ptr<communicator> host, std::chrono::milliseconds timeout);

  /// Before other ranks are waited for. Errors: unavailable (the library is not there).
  expected<void> prepare();
  /// With all other ranks; returns when the devices' group is made.
  expected<void> begin();

  unsigned size() const { return host_->size(); }

  // Errors of all from here on: unavailable (another rank is gone or late, the epoch has ended), those of the runtime. Both groups are
  // broken then.

  /// Of float32, in an order that is the library's own.
  expected<void> all_reduce(stream_id on, address at, std::size_t count);
  /// to: [size()][count] of float32.
  expected<void> all_gather(stream_id on, address from, address to, std::size_t count);

  /// To be called where much is launched between two sums: waits until no more is ahead of the device than a stream has room for.
  expected<void> breathe(stream_id on);
  /// In place of `runtime::synchronize`, which would wait for ever.
  expected<void> wait(stream_id on);

private:
  template <class Call>
  expected<void> call(stream_id on, const char* doing, Call call);
  /// Asks until it is so.
  template <class IsSo>
  expected<void> until(const char* doing, IsSo is_so);
  expected<void> mark(stream_id on);
  expected<void> make_room();
  /// Whether so many marks of this step have come.
  expected<bool> have_come(std::size_t marks);
  tl::unexpected<error> give_up(error why);

  runtime& device_;
  const std::shared_ptr<communicator> host_;
  const std::chrono::milliseconds timeout_;
  std::optional<group_id> id_; ///< Of rank 0.
  std::unique_ptr<collectives> group_;
  std::vector<event_id> marks_; ///< Events, which are used again.
  std::size_t marked_ = 0;      ///< Of this step,
  std::size_t passed_ = 0;      ///< and those that have come.
};

} // namespace troupe::gpu
