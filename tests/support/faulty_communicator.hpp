// A rank whose calls go wrong when a test wants it, over a real group.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "comm/communicator.hpp"

namespace troupe::test {

enum class comm_fault {
  hang, ///< Does not come to where the others wait, until the group is aborted or its own deadline; then it gives up.
  delay, ///< Comes later.
  abort, ///< Aborts the group.
  fail,  ///< Ends with an error at once, of which the others are not told.
  lose,  ///< As a rank whose process is gone: it never comes again. The call returns when the group is aborted.
};

struct planned_fault {
  unsigned rank = 0;
  std::uint64_t call = 0; ///< The rank's first call since the plan was made is 0.
  comm_fault what = comm_fault::hang;
  std::chrono::milliseconds delay{0}; ///< Of `delay`.
  bool from_then_on = false;          ///< This call and all after it; otherwise this one.
};

/// What will go wrong, for all ranks of a group, and of those that follow it with other epochs. Threads: any.
class comm_faults {
public:
  void plan(const planned_fault& fault);
  /// At the rank's next call, and at all after it.
  void from_now_on(unsigned rank, comm_fault what, std::chrono::milliseconds delay = {});
  /// No more faults; what hangs goes on hanging.
  void clear();
  /// So many calls this rank has begun.
  std::uint64_t calls(unsigned rank) const;

  /// Lets go those that hang and are lost, as the abort of a group does. An abort that no rank of the wrapped ones made
  /// (`shared_group::abort`) is known here once the call of one of them has failed.
  void aborted(std::uint64_t epoch);

  // For the ranks.

  /// The fault of a call that begins.
  std::optional<planned_fault> next(unsigned rank);
  /// Waits for the abort; true: it came before `until`.
  bool wait_for_abort(std::uint64_t epoch, std::optional<communicator::deadline> until);

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<planned_fault> planned_;
  std::map<unsigned, std::uint64_t> calls_;
  std::set<std::uint64_t> aborted_; ///< Epochs.
};

/// `inner`, with faults. Owner and threads as `inner` has.
std::unique_ptr<communicator> with_faults(std::unique_ptr<communicator> inner, std::shared_ptr<comm_faults> faults);

} // namespace troupe::test
