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
#include <optional>
#include <random>
#include <source_location>
#include <vector>

#include <boost/context/fiber.hpp>

#include "gpu/kernel.hpp"
#include "gpu/shim/device_memory.hpp"
#include "gpu/shim/fiber_stacks.hpp"
#include "gpu/shim/global_shadow.hpp"
#include "gpu/shim/shared_shadow.hpp"
#include "gpu/shim/violation.hpp"

namespace troupe::gpu::shim {

/// What a warp or a block does together.
enum class meeting : std::uint8_t {
  none,
  sync_warp,
  shuffle,
  shuffle_xor,
  shuffle_down,
  vote,
  load_matrix,
  multiply_add,
  sync_block
};

/// Where threads wait for each other: only at the same place, with as many bytes each, do they meet.
struct meeting_place {
  meeting kind = meeting::none;
  std::uint32_t bytes = 0, line = 0, column = 0;
  const char* file = "";

  meeting_place() = default;
  meeting_place(meeting what, std::size_t size, const std::source_location& here)
      : kind(what), bytes(static_cast<std::uint32_t>(size)), line(here.line()), column(here.column()),
        file(here.file_name()) {}
  bool operator==(const meeting_place&) const = default;
};

struct run_options {
  bool counts_banks = false;       ///< It takes half as long again.
  bool finds_global_races = false; ///< See global_shadow.hpp.
  std::uint64_t most_accesses = 0; ///< Of a thread between two meetings; one with more hangs.
};

class block_run {
public:
  /// The one that runs on this thread of the host.
  static block_run& current() { return *current_; }

  block_run(device_memory& memory, std::uint32_t seed, const run_options& options);

  void begin_launch();

  /// Throws a violation with the place of whoever did it.
  void run(const grid_shape& shape, index3 block, const std::function<void()>& body);

  // For the thread that runs:
  unsigned thread() const { return thread_; }
  const grid_shape& shape() const { return shape_; }
  index3 block() const { return block_; }
  const std::byte* read_global(address at, std::size_t bytes);
  std::byte* write_global(address at, std::size_t bytes, bool atomic = false);
  const std::byte* read_shared(std::size_t offset, std::size_t bytes);
  std::byte* write_shared(std::size_t offset, std::size_t bytes, bool atomic = false);
  std::size_t shared_bytes() const { return shared_.bytes(); }

  void sync_block(const std::source_location& here) { wait({meeting::sync_block, 0, here}); }
  void sync_warp(const std::source_location& here) { wait({meeting::sync_warp, 0, here}); }
  void fence_device();

  /// Gives each lane what another one, or all, have brought to the same meeting.
  template <class T>
  const std::array<T, 32>& meet(meeting kind, const std::source_location& here, const T& brought,
                                std::array<T, 32>& out) {
    static_assert(sizeof(T) <= slot_bytes);
    auto& own = warps_[thread_ / 32];
    const auto parity =
      threads_[thread_].meetings++ % 2; // A lane may be at the next one before others have read this.
    std::memcpy(own.slots[parity][thread_ % 32].data(), &brought, sizeof(T));
    wait({kind, sizeof(T), here});
    for (std::size_t lane = 0; lane < 32; ++lane)
      std::memcpy(&out[lane], own.slots[parity][lane].data(), sizeof(T));
    return out;
  }

  /// Asynchronous copies are done as late as they may be, when they are waited for, and their bytes are nobody's until then.
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
    meeting_place waits;
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

  void wait(const meeting_place& at);
  void count_access();
  void check_global_read(address at, std::size_t bytes);
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

  static thread_local constinit block_run* current_;
  device_memory& memory_;
  std::mt19937 random_;
  boost::context::pooled_fixedsize_stack stacks_;
  stack_bounds scheduler_stack_;
  shared_shadow shared_;
  std::optional<global_shadow> global_;
  grid_shape shape_;
  index3 block_;
  unsigned thread_ = 0;
  std::vector<thread_state> threads_;
  std::vector<warp_state> warps_;
  std::exception_ptr failure_;
  bool unwinds_ = false;
  run_options options_;
  std::uint64_t accesses_ = 0; ///< Of the thread that runs, since it met others.
  std::uint64_t bank_conflicts_ = 0, switches_ = 0;
};

} // namespace troupe::gpu::shim
