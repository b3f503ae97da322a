// One block of a grid, its threads as fibers of one thread of the host.
//
// Which of the threads that can go on goes on is drawn from a seed. A thread gives up its turn where it waits for others: at a
// barrier, and in what a warp does together. Those end when all have come; if that cannot be, it is a violation.
#pragma once

#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include <boost/context/fiber.hpp>

#include "gpu/kernel.hpp"
#include "gpu/shim/device_memory.hpp"
#include "gpu/shim/fiber_stacks.hpp"
#include "gpu/shim/shared_shadow.hpp"
#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

/// What a warp does together: each lane waits for all the others at the same kind of place.
enum class meeting : std::uint8_t { none, sync_warp, exchange, load_matrix, multiply_add, sync_block };

class block_run {
public:
  /// The one that runs on this thread of the host.
  static block_run& current() { return *current_; }

  /// counts_banks: it takes half as long again.
  block_run(device_memory& memory, std::uint32_t seed, bool counts_banks)
      : memory_(memory), random_(seed), stacks_(stack_bytes), counts_banks_(counts_banks) {}

  /// Throws a violation with the place of whoever did it.
  void run(const grid_shape& shape, index3 block, const std::function<void()>& body);

  // For the thread that runs:
  unsigned thread() const { return thread_; }
  const grid_shape& shape() const { return shape_; }
  index3 block() const { return block_; }
  device_memory& memory() { return memory_; }
  const std::byte* read_shared(std::size_t offset, std::size_t bytes);
  std::byte* write_shared(std::size_t offset, std::size_t bytes, bool atomic = false);
  std::size_t shared_bytes() const { return shared_.bytes(); }

  void sync_block() { wait(meeting::sync_block); }
  void sync_warp() { wait(meeting::sync_warp); }

  /// Gives each lane what another one, or all, have brought to the same meeting.
  template <class T>
  const std::array<T, 32>& meet(meeting kind, const T& brought, std::array<T, 32>& out) {
    static_assert(sizeof(T) <= slot_bytes);
    auto& own = warps_[thread_ / 32];
    const auto parity =
      threads_[thread_].meetings++ % 2; // A lane may be at the next one before others have read this.
    std::memcpy(own.slots[parity][thread_ % 32].data(), &brought, sizeof(T));
    wait(kind);
    for (std::size_t lane = 0; lane < 32; ++lane)
      std::memcpy(&out[lane], own.slots[parity][lane].data(), sizeof(T));
    return out;
  }

  /// Asynchronous copies are done as late as they may be: when they are waited for.
  void copy_async(std::size_t to, address from, std::size_t bytes);
  void commit_copies();
  void wait_copies(unsigned left);

  /// Wavefronts of shared memory beyond the first, over all meetings of lanes' accesses: what banks of 4 bytes cost.
  std::uint64_t bank_conflicts() const { return bank_conflicts_; }
  std::uint64_t switches() const { return switches_; }

private:
  static constexpr std::size_t stack_bytes = 64 << 10, slot_bytes = 32;
  struct copy {
    std::size_t to;
    address from;
    std::size_t bytes;
  };
  struct thread_state {
    boost::context::fiber fiber, scheduler;
    stack_bounds stack;
    meeting waits = meeting::none;
    bool done = false;
    std::uint32_t meetings = 0;
    std::vector<copy> open_copies;
    std::deque<std::vector<copy>> groups;
    struct access {
      std::uint32_t word, words;
    };
    std::vector<access> accesses; ///< Of shared memory, since its warp met last.
  };
  struct warp_state {
    std::array<std::array<std::array<std::byte, slot_bytes>, 32>, 2> slots;
    std::uint32_t interval = 0;
  };

  /// What `wait` throws in threads whose block has failed.
  struct unwinding {};

  void wait(meeting at);
  void resume(thread_state& thread);
  void unwind_all();
  void start(unsigned thread, const std::function<void()>& body);
  /// Lets each thread of the warp that can go on do so until all wait or are done; true if one did.
  bool run_warp(unsigned warp);
  bool release_warp(unsigned warp);
  bool release_block();
  [[noreturn]] void diverged() const;
  void count_bank_conflicts(unsigned warp);
  void note_access(std::size_t offset, std::size_t bytes);
  moment now() const;

  static thread_local block_run* current_;
  device_memory& memory_;
  std::mt19937 random_;
  boost::context::pooled_fixedsize_stack stacks_;
  stack_bounds scheduler_stack_;
  shared_shadow shared_;
  grid_shape shape_;
  index3 block_;
  unsigned thread_ = 0;
  std::vector<thread_state> threads_;
  std::vector<warp_state> warps_;
  std::exception_ptr failure_;
  bool unwinds_ = false;
  bool counts_banks_;
  std::uint64_t bank_conflicts_ = 0, switches_ = 0;
};

} // namespace troupe::gpu::shim
