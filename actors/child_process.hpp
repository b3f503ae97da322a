// A program that this process starts, and that never outlives it.
//
// Every child has a thread of its own here, which starts it, hands it its job and waits for its end. A child that has
// asked to die with its parent (`die_with_parent`) is tied by the kernel to the thread that started it, so that one has to
// live as long as the child: no thread of a pool does.
//
// A child has its own process group, so that Ctrl-C in a terminal reaches its parent alone, which ends it in good order.
// It reads nothing on stdin, its stdout and stderr are the parent's stderr, and it has no other descriptor of the
// parent's. No signal is blocked, ignored or handled. Its environment is the parent's.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "protocol/error.hpp"

namespace troupe {

/// Where a child reads its job.
inline constexpr int job_descriptor = 3;

struct child_options {
  std::vector<std::string> arguments; ///< First the program: a path, which is not searched for.
  std::vector<std::byte> job{};       ///< What it reads from `job_descriptor`, up to its end.
};

struct child_end {
  std::string how; ///< "ended with status 3", "was killed by signal 11 (Segmentation fault)"
  int status = 0;  ///< As waitpid gives it; -1: someone else in this process has taken it.
};

/// Threads: all calls from any. The destructor waits for `on_end`, so that must not destroy the child.
class child_process {
public:
  using end_handler = std::function<void(const child_end&)>;

  /// Returns when the program runs, or does not. on_end: called once, on the child's thread, when it has ended and
  /// nothing of it is left, whoever ended it; not where this fails. It must not throw.
  /// Errors: unavailable (no such program, no more processes or threads), invalid_argument (no arguments).
  static expected<std::unique_ptr<child_process>> start(child_options options, end_handler on_end);

  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  /// Kills it and waits for its end.
  ~child_process();

  /// Once it has ended, another process may have this number.
  pid_t pid() const { return pid_; }

  /// At once, whatever it is doing; nothing, if it has ended.
  void kill();

private:
  child_process() = default;
  void wait(const end_handler& on_end);

  pid_t pid_ = 0; ///< Written before `start` returns.
  std::mutex mutex_;
  bool reaped_ = false; ///< Guarded by `mutex_`: from then on the number is not ours.
  std::thread thread_;
};

// For the child.

/// From now on the kernel kills this process when the thread that started it ends, and so when the process `parent`
/// does. Errors: unavailable (it has ended already), io.
expected<void> die_with_parent(pid_t parent);

/// All that there is to read, and closes the descriptor. Errors: limit_exceeded (more bytes than `limit`), io.
expected<std::vector<std::byte>> read_job(int descriptor, std::size_t limit);

} // namespace troupe
