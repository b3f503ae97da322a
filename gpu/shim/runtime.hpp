// A device that is none: runs the kernels' own source, checks it, and finds the orders that make a program wrong.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "gpu/collectives.hpp"
#include "gpu/runtime.hpp"
#include "gpu/shim/device_memory.hpp"
#include "gpu/shim/rank_calls.hpp"
#include "gpu/shim/streams.hpp"
#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

/// What a `kernel_entry` of the shim points to.
using shim_function = void (*)(const void* arguments);

struct shim_options {
  std::size_t memory_bytes = std::size_t{1} << 30;
  std::uint32_t seed = 1;    ///< Of all orders: of streams, blocks, warps and threads.
  bool counts_banks = false; ///< See `launch_report::bank_conflicts`.
  /// Races in device memory, too: kernels take a sixth longer, and what they use of device memory takes 8 times as much of the host's.
  bool finds_global_races = false;
  /// Of `memory_bytes`, what other processes have whenever it is asked for: faults on demand. Empty: nothing.
  std::function<std::size_t()> taken_by_others = {};
  std::size_t graph_bytes = std::size_t{1} << 20; ///< That each graph takes of the device.
  bool no_room_for_graphs = false;                ///< A fault on demand: making one fails for want of memory.
  std::uint64_t most_accesses = std::uint64_t{1}
                                << 24; ///< To memory, of a thread that meets no other one: more, and it hangs.
  planned_rank_fault rank_fault = {};  ///< Of its groups of ranks, a fault on demand.
  std::chrono::milliseconds longest_wait{60000}; ///< Of `synchronize`, for another rank: longer, and it hangs.
};

/// What the last kernel that ran did.
struct launch_report {
  const char* kernel = "";
  traffic moved;
  std::uint64_t bank_conflicts = 0; ///< Wavefronts of shared memory beyond one an access of a warp.
  std::uint64_t switches = 0;       ///< Of threads.
};

/// What the host has asked for so far.
struct call_counts {
  std::uint64_t launches = 0; ///< Of kernels, graphs and products.
  std::uint64_t copies = 0, synchronisations = 0;
  std::uint64_t bytes_out = 0; ///< Of those copies that go to the host's memory.
};

class shim_runtime : public runtime {
public:
  shim_runtime(kernel_table kernels, const shim_options& options);
  ~shim_runtime() override;

  expected<address> allocate(std::size_t bytes) override;
  expected<void> free(address at) override;
  expected<address> allocate_pinned(std::size_t bytes) override;
  expected<void> free_pinned(address at) override;
  expected<memory_account> memory() override;
  expected<stream_id> make_stream() override;
  expected<event_id> make_event() override;
  expected<void> launch(stream_id on, kernel_id kernel, const grid_shape& shape, const void* arguments) override;
  expected<void> copy(stream_id on, address to, address from, std::size_t bytes) override;
  expected<void> open_products() override;
  expected<void> multiply(stream_id on, const matrix_product& what) override;
  expected<void> fill(stream_id on, address at, std::uint8_t value, std::size_t bytes) override;
  expected<void> record(event_id event, stream_id on) override;
  expected<void> wait(stream_id on, event_id event) override;
  expected<bool> is_done(event_id event) override;
  expected<void> synchronize(event_id event) override;
  expected<void> synchronize(stream_id on) override;
  expected<void> begin_capture(stream_id on) override;
  expected<graph_id> end_capture(stream_id on) override;
  expected<void> launch(stream_id on, graph_id graph) override;
  expected<void> free(graph_id graph) override;
  expected<group_id> make_group_id() override;
  expected<std::unique_ptr<collectives>> join_group(const group_id& id, unsigned rank, unsigned ranks) override;

  const launch_report& last_launch() const { return last_; }
  const call_counts& calls() const { return calls_; }
  /// From the next launch on, what kernels move in these bytes of device memory is counted apart, too.
  void count_apart(address at, std::size_t bytes) { memory_.count_apart(at, bytes); }
  /// What the last kernel that ran has moved in the range that begins there.
  traffic moved_at(address at) const { return memory_.counted_at(at); }
  /// Why the device is lost, if it was a violation.
  const std::optional<violation>& lost_by() const { return lost_by_; }

private:
  class grid_runner;
  /// Makes a sticky error of a violation, and has everything refused after one.
  template <class Call>
  auto guarded(Call call) -> decltype(call());
  /// What of a kernel's arguments points into memory that is allocated.
  std::vector<address> addresses_in(const void* arguments, std::size_t bytes) const;
  void run_grid(const kernel_entry& kernel, const grid_shape& shape, const void* arguments);

  kernel_table kernels_;
  device_memory memory_;
  stream_set streams_;
  std::unique_ptr<grid_runner> runner_;
  launch_report last_;
  call_counts calls_;
  std::size_t graph_bytes_;
  bool no_room_for_graphs_, has_products_ = false;
  planned_rank_fault rank_fault_;
  std::uint32_t seed_;
  std::vector<rank_memory> groups_; ///< Those that others may still join.
  std::optional<violation> lost_by_;
};

} // namespace troupe::gpu::shim
