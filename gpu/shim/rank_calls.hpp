// The device's side of a rank of the shim: calls that are on a stream, and go on bit by bit as the other ranks come.
//
// Owner: a group of the shim; one thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu/shim/device_memory.hpp"
#include "gpu/shim/rank_memory.hpp"
#include "gpu/shim/streams.hpp"

namespace troupe::gpu::shim {

enum class rank_fault : std::uint8_t {
  none,
  hang,        ///< It does not come, and no call of it ends before its abort.
  slow,        ///< It comes later.
  abort,       ///< It aborts its part of the group; the others are not told, as over a bus nobody would be.
  async_error, ///< As `hang`, but its `state` says that something has failed.
};

/// A fault on demand.
struct planned_rank_fault {
  rank_fault what = rank_fault::none;
  std::uint64_t call =
    0; ///< Of the rank's calls in this group; those that are made together are one. 0: the group's making.
  std::chrono::milliseconds delay{0}; ///< Of `slow`.
};

struct rank_call {
  enum class kind : std::uint8_t { all_reduce, all_gather, send, receive } what;
  address from = 0, to = 0;
  std::size_t bytes = 0; ///< Of this rank.
  unsigned peer = 0;     ///< Of messages.

  std::size_t done = 0; ///< Bytes that have been exchanged.
  bool has_come = false, is_over = false;
  bool is_message() const { return what == kind::send || what == kind::receive; }
};

class rank_calls : public std::enable_shared_from_this<rank_calls> {
public:
  /// memory: its device's; outlives it.
  rank_calls(device_memory& memory, rank_memory shared, unsigned rank, unsigned ranks,
             const planned_rank_fault& fault)
      : memory_(memory), shared_(std::move(shared)), rank_(rank), ranks_(ranks), fault_(fault) {}

  unsigned rank() const { return rank_; }
  unsigned size() const { return ranks_; }

  /// Whether all ranks have joined; this one does so when it is first asked, or later where it is slow.
  expected<bool> join();

  /// For a stream; in the order in which the host has called. Throws a violation for memory that is not there, and where ranks call
  /// different things.
  shared_work make(std::vector<rank_call> together);

  /// All calls are over, and what comes fails.
  void abort(const std::string& why);
  const std::optional<std::string>& failed_by() const { return failed_by_; }

private:
  struct item {
    std::uint64_t number;
    std::vector<rank_call> calls;
  };
  bool advance(item& what);
  void leave(item& what);
  /// Whether its fault, if it has one, lets it go on.
  bool may_go_on(std::uint64_t number);
  void bring_on(rank_call& call);
  void exchange(rank_call& call);
  void combine(const rank_call& call, std::size_t bytes);
  void send(rank_call& call);
  void receive(rank_call& call);

  device_memory& memory_;
  rank_memory shared_;
  const unsigned rank_, ranks_;
  const planned_rank_fault fault_;
  std::optional<std::chrono::steady_clock::time_point> slow_until_;
  bool has_joined_ = false, is_aborted_ = false;
  std::optional<std::string> failed_by_;
  std::uint64_t made_ = 0, over_ = 0; ///< Items.
  std::uint64_t exchanges_ = 0;       ///< That this rank has come to.
};

} // namespace troupe::gpu::shim
