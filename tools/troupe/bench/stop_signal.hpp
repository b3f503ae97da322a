// SIGINT and SIGTERM as something that can be waited for beside other things.
#pragma once

#include <csignal>

namespace boost::asio {
class io_context;
}

namespace troupe::cli {

/// Blocks both signals in this thread, and those that it starts, while it lives: they become readable instead.
class stop_signal {
public:
  /// Throws std::system_error where the system gives no descriptor.
  stop_signal();
  ~stop_signal();
  stop_signal(const stop_signal&) = delete;

  /// Readable once a signal has come, from then on.
  int descriptor() const { return descriptor_; }
  bool came() const;
  /// Waits; true as soon as a signal has come.
  bool came_within(int ms) const;

  /// In a child before it runs something else: as it was before.
  void give_back() const;

private:
  sigset_t signals_, before_;
  int descriptor_;
};

/// Runs handlers until one of them stops `context`, or a signal comes: then all is left as it is, and the result is false.
bool run_until_stopped(boost::asio::io_context& context, const stop_signal& stop);

} // namespace troupe::cli
