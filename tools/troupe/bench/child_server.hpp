// A `troupe serve` of our own, as a child process.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tools/troupe/bench/http_exchange.hpp"

namespace troupe::cli {

// After which a start has failed, since exec.
inline constexpr int listen_patience_ms = 60'000;
inline constexpr int ready_patience_ms = 60 * 60'000; ///< A large model from a slow disk takes minutes.

/// It is there while this lives: it ends with this, and with this process however that ends.
class child_server {
public:
  /// Runs this program with `serve`, the arguments and what they must not have: a free port, and a log that is read
  /// here. Waits until it listens; the model may still be being loaded. `stop` outlives it. Errors: invalid_argument
  /// (the arguments), io (the system gives no process), unavailable (it has ended instead, with its last words,
  /// or has taken longer than `listen_patience_ms` or `ready_patience_ms`), cancelled (a signal came).
  static expected<std::unique_ptr<child_server>> start(std::vector<std::string> arguments, const stop_signal& stop);
  ~child_server();
  child_server(const child_server&) = delete;

  /// Until /ready says 200. Errors: as `start`.
  expected<void> wait_until_ready();

  const server_access& access() const { return access_; }
  std::chrono::steady_clock::time_point started() const { return started_; } ///< Just before the process was made.

private:
  explicit child_server(const stop_signal& stop) : stop_(stop) { access_.stop = &stop; }

  expected<void> run(std::vector<std::string> arguments);
  expected<void> wait_until_listening();
  /// Waits a little; fails when so much time is over since exec. Errors: as `start`.
  expected<void> wait_a_moment(int patience_ms);
  std::string said() const; ///< All of its stderr.

  const stop_signal& stop_;
  server_access access_;
  pid_t process_ = -1;
  int log_ = -1; ///< A file in memory.
  std::chrono::steady_clock::time_point started_;
};

} // namespace troupe::cli
