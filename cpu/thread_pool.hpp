// The threads that run a forward pass together.
//
// Every thread runs the same function and they meet at barriers, so that a pass of some hundred small operations
// wakes them once and not a hundred times. Owner: one backend; `run` is called by one thread at a time, which takes
// part as index 0. Between two runs the others sleep; inside a run a barrier spins for a bounded time, then sleeps
// too. Where there is a thread for each CPU that the process may use, each but the caller's stays on one: else the
// system at times lets two share one CPU for as long as a pass takes, with another idle.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace troupe::cpu {

/// How many CPUs the process may use: its affinity, less what the quota of its cgroup allows. At least 1.
unsigned usable_cpus();

class thread_pool {
public:
  /// Throws std::system_error where the system refuses a thread.
  explicit thread_pool(unsigned threads);
  ~thread_pool();
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  unsigned size() const { return threads_; }

  /// Calls body(index) on every thread, and returns when all have returned. `body` must not throw.
  void run(const std::function<void(unsigned)>& body);

  /// Inside `run`: returns when all threads have come here. What each wrote before is then seen by all.
  void barrier();

private:
  void work(unsigned index);
  void stop();

  const unsigned threads_;
  const unsigned spins_; ///< Rounds of a barrier's spin before it sleeps.
  const std::function<void(unsigned)>* body_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> round_{0}; ///< Of `run`: a change wakes the threads.
  alignas(64) std::atomic<std::uint32_t> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> phase_{0}; ///< Of `barrier`: the last to arrive changes it.
  bool stopping_ = false;
  std::vector<std::thread> others_;
};

} // namespace troupe::cpu
