// When a step is too late to be waited for: learnt from those before it.
//
// A step may take ten times what nearly all have taken (the 99th percentile of the latest), the larger of the time of
// a whole step and the time of a row for each of its rows, and two seconds at least. As long as little has been seen it
// may take as long as any: a first prompt on a slow machine must not look like a hang.
//
// Owner: the executor; one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace troupe {

class step_deadline {
public:
  static constexpr std::size_t enough = 20;      ///< Steps that must have been seen.
  static constexpr std::size_t remembered = 256; ///< The latest.
  static constexpr double times = 10, least_ms = 2000;

  /// any_ms: what a step may take as long as nothing is known.
  explicit step_deadline(double any_ms) : any_ms_(any_ms) {}

  void took(double milliseconds, std::size_t rows);

  /// What a step of so many rows may take.
  double limit_ms(std::size_t rows) const;

private:
  double any_ms_;
  std::array<double, remembered> steps_{}, rows_{}; ///< Milliseconds of each, and for each of its rows.
  std::size_t seen_ = 0;
};

} // namespace troupe
