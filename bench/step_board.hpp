// When each step was launched, answered and delivered: written by a fake worker and by those who receive tokens, read
// when all is over. A token tells which step it comes from.
//
// Threads: all. The slot of a step is written by one worker and then by as many receivers as it has.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe::bench {

inline std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
    std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count());
}

class step_board {
public:
  /// Steps in flight are far fewer than these.
  static constexpr std::uint32_t tokens = 128;
  static constexpr token_id first_token = 100; ///< Printable in any vocabulary with bytes as tokens.

  step_board(std::uint32_t receivers, std::uint32_t wanted) : receivers_(receivers), slots_(wanted) {}

  /// The token of the step that is launched now. `counts`: it is one of those that are to be measured.
  token_id launched(bool counts) {
    const auto now = now_ns();
    const auto index =
      recording_.load() && counts && taken_ < slots_.size() ? static_cast<std::int64_t>(taken_++) : -1;
    before_ = previous_;
    if (previous_ >= 0)
      slots_[static_cast<std::size_t>(previous_)].next_launched = now;
    if (index < 0 && taken_ == slots_.size() && complete_ == 0)
      finish();
    previous_ = index;
    const auto ring = static_cast<std::uint32_t>(steps_++ % tokens);
    of_token_[ring].store(index, std::memory_order_release);
    if (index >= 0)
      slots_[static_cast<std::size_t>(index)].launched = now;
    return first_token + static_cast<token_id>(ring);
  }

  /// Until the step before the present one has been delivered; a second at most.
  void wait_for_delivery() const {
    if (before_ < 0)
      return;
    const auto until = now_ns() + 1'000'000'000;
    while (slots_[static_cast<std::size_t>(before_)].delivered == 0 && now_ns() < until)
      std::this_thread::yield();
  }

  void answered() {
    if (previous_ >= 0)
      slots_[static_cast<std::size_t>(previous_)].answered = now_ns();
  }

  /// Somebody has all that the step with this token brought it.
  void delivered(token_id token) {
    const auto index = of_token_[static_cast<std::size_t>(token - first_token)].load(std::memory_order_acquire);
    if (index < 0)
      return;
    auto& slot = slots_[static_cast<std::size_t>(index)];
    if (slot.receivers.fetch_add(1) + 1 == receivers_)
      slot.delivered = now_ns();
  }

  void record() { recording_ = true; }

  /// Until as many steps as wanted have been measured, and one more.
  bool wait(std::chrono::seconds most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, most, [&] { return complete_ != 0; });
  }

  bool finished() {
    std::lock_guard lock(mutex_);
    return complete_ != 0;
  }

  struct slot {
    std::uint64_t launched = 0, answered = 0, next_launched = 0;
    std::atomic<std::uint64_t> delivered{0};
    std::atomic<std::uint32_t> receivers{0};
  };
  const std::vector<slot>& slots() const { return slots_; }

private:
  void finish() {
    std::lock_guard lock(mutex_);
    complete_ = 1;
    changed_.notify_all();
  }

  std::uint32_t receivers_;
  std::vector<slot> slots_;
  std::atomic<std::int64_t> of_token_[tokens]{};
  std::atomic<bool> recording_{false};
  std::uint64_t steps_ = 0, taken_ = 0;
  std::int64_t previous_ = -1, before_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  int complete_ = 0;
};

} // namespace troupe::bench
