#include "engine/step_deadline.hpp"

#include <algorithm>

namespace troupe {

void step_deadline::took(double milliseconds, std::size_t rows) {
  // What is usual takes a while to find out: only where it matters.
  const auto usual = milliseconds > least_ms ? usual_limit_ms(rows) : least_ms;
  if (milliseconds > usual) {
    patience_ = std::max(patience_, 2 * milliseconds / usual);
    in_time_ = 0;
  } else if (++in_time_ == remembered) {
    patience_ = 1;
    in_time_ = 0;
  }
  steps_[seen_ % remembered] = milliseconds;
  rows_[seen_ % remembered] = milliseconds / static_cast<double>(std::max<std::size_t>(rows, 1));
  ++seen_;
}

void step_deadline::gave_up() {
  patience_ = std::max(patience_, std::min(most_patience, 2 * patience_));
  in_time_ = 0;
}

double step_deadline::usual_limit_ms(std::size_t rows) const {
  if (seen_ < enough)
    return any_ms_;
  const auto count = std::min(seen_, remembered);
  const auto p99 = [count](std::array<double, remembered> values) { // A copy, to be put in order.
    const auto at = values.begin() + static_cast<std::ptrdiff_t>((count * 99 + 99) / 100 - 1);
    std::nth_element(values.begin(), at, values.begin() + static_cast<std::ptrdiff_t>(count));
    return *at;
  };
  return std::max(least_ms, times * std::max(p99(steps_), p99(rows_) * static_cast<double>(rows)));
}

double step_deadline::limit_ms(std::size_t rows) const {
  return std::min(any_ms_, patience_ * usual_limit_ms(rows));
}

} // namespace troupe
