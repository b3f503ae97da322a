#include "engine/step_deadline.hpp"

#include <algorithm>

namespace troupe {

void step_deadline::took(double milliseconds, std::size_t rows) {
  steps_[seen_ % remembered] = milliseconds;
  rows_[seen_ % remembered] = milliseconds / static_cast<double>(std::max<std::size_t>(rows, 1));
  ++seen_;
}

double step_deadline::limit_ms(std::size_t rows) const {
  if (seen_ < enough)
    return any_ms_;
  const auto count = std::min(seen_, remembered);
  const auto p99 = [count](std::array<double, remembered> values) { // A copy, to be put in order.
    const auto at = values.begin() + static_cast<std::ptrdiff_t>((count * 99 + 99) / 100 - 1);
    std::nth_element(values.begin(), at, values.begin() + static_cast<std::ptrdiff_t>(count));
    return *at;
  };
  return std::min(any_ms_, std::max(least_ms, times * std::max(p99(steps_), p99(rows_) * static_cast<double>(rows))));
}

} // namespace troupe
