// The shim's stand-in for NCCL: ranks in threads or processes, over memory that they share (rank_memory.hpp).
//
// It is as hard to use as NCCL is: a call may stay in progress while `state` is asked a few times, and is on its stream only then; a group
// hangs where a rank does not come; an abort is told to nobody; sums are added in an order that changes with their place.
#pragma once

#include <functional>
#include <random>

#include "gpu/collectives.hpp"
#include "gpu/shim/rank_calls.hpp"
#include "gpu/shim/streams.hpp"

namespace troupe::gpu::shim {

class shim_collectives final : public collectives {
public:
  /// Runs a call on the device, and makes a sticky error of a violation.
  using guard = std::function<expected<void>(const std::function<expected<void>()>&)>;

  shim_collectives(std::shared_ptr<rank_calls> calls, stream_set& streams, guard guarded, std::uint32_t seed);
  ~shim_collectives() override;

  unsigned rank() const override { return calls_->rank(); }
  unsigned size() const override { return calls_->size(); }
  expected<group_state> state() override;
  expected<void> all_reduce(stream_id on, address from, address to, std::size_t count) override;
  expected<void> all_gather(stream_id on, address from, address to, std::size_t bytes) override;
  expected<void> send(stream_id on, address from, std::size_t bytes, unsigned to) override;
  expected<void> receive(stream_id on, address to, std::size_t bytes, unsigned from) override;
  expected<void> begin_together() override;
  expected<void> end_together() override;
  expected<void> abort() override;

private:
  expected<void> add(stream_id on, const rank_call& call);
  expected<void> check_usable() const;
  void check_ranges(const rank_call& call) const;
  /// What has been called goes to its stream, when the dice say so.
  void begin_progress();
  expected<void> queue();

  std::shared_ptr<rank_calls> calls_;
  stream_set& streams_;
  guard guarded_;
  std::mt19937 random_;
  bool is_made_ = false, together_ = false;
  stream_id on_{};
  std::vector<rank_call> pending_;
  std::optional<unsigned> asks_left_; ///< Before what is pending is queued.
};

} // namespace troupe::gpu::shim
