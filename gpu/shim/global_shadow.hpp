// Who used each part of device memory last, during the launch that runs: it finds races, whatever the order in which blocks and threads
// happen to run.
//
// Two uses of the same bytes by different threads, one of which writes, need an order. In a block that is a barrier of the block, or of
// their warp if they are in the same one. Between blocks there is none, but for atomics, and for this pattern (PTX ISA, "Memory
// Consistency Model", release and acquire patterns): a thread calls `fence_device` and then adds to a number by an atomic; another one
// adds to the same number later and then calls `fence_device`. What came before the first fence, in its thread or by barriers, comes
// before what is behind the second one.
//
// Kept for each 2 bytes, with the last user and whether there were several. What that cannot tell is taken for right: of single bytes in
// the same 2, and of several readers in other blocks, only the last one counts. Launches come one after another here; that two streams'
// launches need an event is found by their order (streams.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "gpu/portable/numbers.hpp"
#include "gpu/shim/shared_shadow.hpp"

namespace troupe::gpu::shim {

class global_shadow {
public:
  /// bytes: of device memory; 8 times as much address space is taken, and memory as it is used.
  explicit global_shadow(std::size_t bytes);
  ~global_shadow();
  global_shadow(const global_shadow&) = delete;

  void begin_launch() { launch_begins_ = true; }
  /// now: of its first interval.
  void begin_block(index3 block, std::uint32_t interval);

  /// What is wrong with the use, or nothing.
  std::string read(std::size_t offset, std::size_t bytes, moment now);
  std::string write(std::size_t offset, std::size_t bytes, moment now, bool atomic);
  void fence(moment now);

private:
  /// A `moment` in 8 bytes: barriers of the warp are counted modulo 65536.
  struct use {
    std::uint32_t interval;
    std::uint16_t warp_interval;
    std::uint16_t thread : 10;
    std::uint16_t bytes : 2; ///< Which of the two.
    std::uint16_t atomic : 1;
    std::uint16_t several : 1; ///< Others have done the same (of readers: of the same warp, since its last barrier),
    std::uint16_t several_warps : 1;  ///< of other warps since the block's last barrier,
    std::uint16_t several_blocks : 1; ///< and of other blocks.
  };
  struct state {
    use writer, reader;
  };
  static_assert(sizeof(state) == 16);
  static constexpr std::size_t granule = 2;

  /// What a thread has released by an atomic: all that came before its fence.
  struct release {
    moment fence;
    std::uint32_t block_began;
  };
  /// A number that a thread of the block that runs has added to, with what had been released there.
  struct acquisition {
    std::size_t at;
    std::size_t releases;
    moment when; ///< The thread's atomic; once it is in force, its fence.
  };

  static moment moment_of(const use& of) { return {of.interval, of.warp_interval, of.thread}; }
  static bool unordered(const moment& before, const moment& now) {
    return before.interval == now.interval && before.thread != now.thread &&
           (before.thread / 32 != now.thread / 32 ||
            static_cast<std::uint16_t>(before.warp_interval) == static_cast<std::uint16_t>(now.warp_interval));
  }
  bool is_of_launch(const use& of) const { return of.interval >= launch_began_; }
  bool is_of_block(const use& of) const { return of.interval >= block_began_; }
  /// An earlier use in this launch, one or several alike, is not before `now`.
  bool conflicts(const use& before, moment now) const;
  bool is_acquired(const use& before, moment now) const;
  void note_atomic(std::size_t at, moment now);
  std::string race(const use& before, const char* did, moment now, const char* does) const;
  std::string place_of(std::uint32_t interval) const;

  std::size_t granules_;
  state* states_;
  bool launch_begins_ = true;
  std::uint32_t launch_began_ = 0, block_began_ = 0;               ///< Their first intervals.
  std::vector<std::pair<std::uint32_t, index3>> blocks_;           ///< Of the launch, by their first intervals.
  std::unordered_map<std::size_t, std::vector<release>> releases_; ///< Of the launch, by granule.
  std::vector<moment> fences_;                                     ///< Of the block: each thread's last one.
  std::vector<acquisition> atomics_, acquired_; ///< Of the block: without a fence behind them, and with one.
};

} // namespace troupe::gpu::shim
