// What joins the ranks of one model: tensor-parallel shards, which add up partial results, and pipeline stages, which
// hand rows on.
//
// All ranks of a group make the same calls in the same order. Every call has a deadline; a call that fails breaks the
// group for good: the executor then raises the epoch and makes a new one (docs/parallelism.md). A group belongs to one
// epoch, and nothing of an old one reaches it.
//
// Owner: one worker has one rank of a group, and one thread of it at a time calls. `abort` may come from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "protocol/error.hpp"

namespace troupe {

class communicator {
public:
  /// When a call gives up: errors of `unavailable` then, and the group is broken.
  using deadline = std::chrono::steady_clock::time_point;

  virtual ~communicator() = default;

  virtual unsigned rank() const = 0;
  virtual unsigned size() const = 0;
  virtual std::uint64_t epoch() const = 0;
  /// Logical shards of this rank: what it brings to a sum.
  virtual unsigned shards() const = 0;

  // Errors of all: unavailable (the deadline has passed, the group was aborted or broken before), internal (ranks that
  // call different things, where it shows).

  /// sum[i] = the partial results of all logical shards, added in their order: the same bits on every rank, and for
  /// every way to divide the shards among ranks. partial: [shards()][sum.size()], which may be `sum` itself.
  virtual expected<void> all_reduce(std::span<const float> partial, std::span<float> sum, deadline until) = 0;

  /// `all` gets what each rank has, in their order: [size()][mine.size()]. All ranks have as many bytes.
  virtual expected<void> all_gather(std::span<const std::byte> mine, std::span<std::byte> all, deadline until) = 0;

  /// Every rank's `data` becomes that of rank `root`.
  virtual expected<void> broadcast(std::span<std::byte> data, unsigned root, deadline until) = 0;

  /// Part i of `to` goes to rank i, and part i of `from` came from there: [size()][bytes], as many bytes on all ranks.
  virtual expected<void> all_to_all(std::span<const std::byte> to, std::span<std::byte> from, deadline until) = 0;

  /// To another rank, which receives as many bytes. Returns when `data` may change, which may be before it has come.
  virtual expected<void> send(std::span<const std::byte> data, unsigned to, deadline until) = 0;
  virtual expected<void> receive(std::span<std::byte> data, unsigned from, deadline until) = 0;

  /// Returns when all ranks have called it.
  virtual expected<void> barrier(deadline until) = 0;

  /// Makes all calls of all ranks fail, those that wait now and all that come. Over TCP a call for which everything has
  /// come already may still end well, and who waits for one rank alone is told by that one.
  virtual void abort() = 0;

  /// Whether all calls of this rank fail from now on, as far as is known here: it was aborted, or a call has failed. Asks nobody, and
  /// may come from any thread: for those who wait for something else that the group's ranks do (gpu/backend/rank_group.hpp).
  virtual bool is_broken() const = 0;
};

} // namespace troupe
