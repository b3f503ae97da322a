// Shared memory of the block that runs, with a shadow of who used each byte last: it finds races, whatever the order in which
// threads happen to run.
//
// Two uses of a byte by different threads, one of which writes, need a barrier between them: of the block, or of their warp if they
// are in the same one. That is decided for each byte by the last writer and by the readers since then.
//
// An asynchronous copy writes at any time between its beginning and its wait: its bytes are nobody's to use until then, and it is a
// write at both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace troupe::gpu::shim {

/// Which thread, and between which barriers.
struct moment {
  std::uint32_t interval = 0;      ///< Barriers of blocks so far, over all blocks; 0: never.
  std::uint32_t warp_interval = 0; ///< Barriers of its warp alone, over all blocks.
  std::uint16_t thread = 0;
};

class shared_shadow {
public:
  /// A new block: its memory has nothing in it.
  void begin_block(std::size_t bytes);
  void pass_barrier() { ++interval_; }
  std::uint32_t interval() const { return interval_; }
  std::size_t bytes() const { return storage_.size(); }

  /// Throw a violation. `atomic`: not a race with another atomic.
  const std::byte* read(std::size_t offset, std::size_t bytes, moment now);
  std::byte* write(std::size_t offset, std::size_t bytes, moment now, bool atomic = false);
  /// An asynchronous copy of this thread's into these bytes begins, and has come: `write` in between is a violation, too.
  void begin_copy(std::size_t offset, std::size_t bytes, moment now);
  std::byte* end_copy(std::size_t offset, std::size_t bytes, moment now);

private:
  struct byte_state {
    moment writer, reader;
    bool atomic = false;          ///< The last write was, and
    bool several_atomics = false; ///< others have added to it since the writer's last barrier.
    bool several_lanes = false;   ///< Readers of the reader's warp since its last barrier, or
    bool several_warps = false;   ///< of the block since its last.
    bool pending = false;         ///< The writer's asynchronous copy is under way.
  };

  void check_inside(std::size_t offset, std::size_t bytes, bool reads, moment now) const;
  /// `before` was done by another thread than `now`, and nothing orders the two.
  static bool unordered(const moment& before, const moment& now) {
    return before.interval == now.interval && before.thread != now.thread &&
           (before.thread / 32 != now.thread / 32 || before.warp_interval == now.warp_interval);
  }
  /// Throws where an asynchronous copy to the byte is under way.
  void check_copies(std::size_t offset, const byte_state& state, bool reads, moment now) const;
  [[noreturn]] static void race(std::size_t offset, const moment& before, const char* did, const moment& now,
                                const char* does);

  std::vector<std::byte> storage_;
  std::vector<byte_state> states_;
  std::uint32_t interval_ = 0;
  std::uint32_t block_began_ = 0; ///< Its first interval.
};

} // namespace troupe::gpu::shim
