// How far a measurement is, on stderr, where that is a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace troupe::cli {

/// A line that is written over itself from the second second on, and is gone when this ends. Nothing where stderr is no
/// terminal.
class progress {
public:
  /// `what`: in front of the bar. `total`: when all is done.
  progress(std::string what, std::size_t total);
  ~progress();
  progress(const progress&) = delete;

  bool visible() const { return terminal_; } ///< Otherwise `show` does nothing.
  void show(std::size_t done);

private:
  std::string what_;
  std::size_t total_;
  bool terminal_, shown_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), last_{};
};

/// "[####......] 4/10"
std::string bar_of(std::size_t done, std::size_t total);

} // namespace troupe::cli
