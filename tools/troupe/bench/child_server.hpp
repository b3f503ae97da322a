// A `troupe serve` of our own, as a child process.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tools/troupe/bench/http_exchange.hpp"

namespace troupe::cli {

/// It is there while this lives: it ends with this, and with this process however that ends.
class child_server {
public:
  /// Runs this program with `serve --port 0` and the arguments, and waits until it listens; the model may still be being
  /// loaded. `stop` outlives it. Errors: io (the system gives no process), unavailable (it has ended instead, with its
  /// last words), cancelled (a signal came).
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
  /// Waits a little. Errors: as `start`.
  expected<void> wait_a_moment();
  std::string said() const; ///< All of its stderr.

  const stop_signal& stop_;
  server_access access_;
  pid_t process_ = -1;
  int log_ = -1; ///< A file in memory.
  std::chrono::steady_clock::time_point started_;
};

/// The model among the arguments of `troupe serve`, by name or path.
std::string model_of(const std::vector<std::string>& arguments);

} // namespace troupe::cli
