// How a message wakes an actor that sleeps in `zmq_poll`.
#pragma once

#include <atomic>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

namespace troupe {

/// A descriptor that is readable once somebody has called `notify`.
class event_descriptor {
public:
  event_descriptor() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~event_descriptor() { close(fd_); }
  event_descriptor(const event_descriptor&) = delete;

  int fd() const { return fd_; }

  void notify() {
    if (pending_.exchange(true, std::memory_order_acq_rel))
      return;
    const std::uint64_t one = 1;
    [[maybe_unused]] auto written = write(fd_, &one, sizeof one); // Full means readable, which is all we want.
  }

  void clear() {
    std::uint64_t count;
    [[maybe_unused]] auto got = read(fd_, &count, sizeof count);
    pending_.exchange(false, std::memory_order_acq_rel);
  }

private:
  int fd_;
  std::atomic<bool> pending_{false};
};

} // namespace troupe
