// Entries of the log that others can cause as often as they like: one an interval is said, and how many were not.
//
// Owner: whoever says them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace troupe {

class told_rarely {
public:
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds interval{1000};

  /// Nothing: this one is not to be said. Otherwise how many were not said since the last one that was.
  std::optional<std::uint64_t> next(time_point now) {
    if (last_ && now - *last_ < interval) {
      ++unsaid_;
      return std::nullopt;
    }
    last_ = now;
    return std::exchange(unsaid_, 0);
  }

private:
  std::optional<time_point> last_;
  std::uint64_t unsaid_ = 0;
};

} // namespace troupe
