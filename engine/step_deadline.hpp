// When a step is too late to be waited for: learnt from those before it.
//
// A step may take ten times what nearly all have taken (the 99th percentile of the latest), the larger of the time of
// a whole step and the time of a row for each of its rows, and two seconds at least. As long as little has been seen it
// may take as long as any: a first prompt on a slow machine must not look like a hang.
//
// A machine may become slow at once (weights that were swapped out), and then each step looks like a hang, whoever
// computes it. So an alarm doubles what those after it may take, up to four times the usual: no more, or an engine that always hangs
// would be replaced for ever and never be given up. A step that was too late and has ended all the same shows
// what is possible: those after it may take twice as long. All this is forgotten when
// 256 steps in a row have come in time.
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
  static constexpr std::size_t remembered = 256; ///< The latest; and after so many in time all patience is gone.
  static constexpr double times = 10, least_ms = 2000;
  static constexpr double most_patience = 4; ///< By alarms alone.

  /// any_ms: what a step may take as long as nothing is known, and at most.
  explicit step_deadline(double any_ms) : any_ms_(any_ms) {}

  /// It has ended, also if it was thought not to.
  void took(double milliseconds, std::size_t rows);

  /// A step was not waited for any longer.
  void gave_up();

  /// What a step of so many rows may take.
  double limit_ms(std::size_t rows) const;

private:
  double usual_limit_ms(std::size_t rows) const;

  double any_ms_;
  double patience_ = 1;                             ///< How many times the usual limit.
  std::size_t in_time_ = 0;                         ///< Steps in a row that were.
  std::array<double, remembered> steps_{}, rows_{}; ///< Milliseconds of each, and for each of its rows.
  std::size_t seen_ = 0;
};

} // namespace troupe
