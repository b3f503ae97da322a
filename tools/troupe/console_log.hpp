// The log of `troupe serve`: lines on standard error, by spdlog, which only its source file knows.
//
// Whoever logs makes a line and goes on: a thread of its own writes it. When standard error is read so slowly that more than
// `max_queued_lines` wait, the oldest are lost, and a line says how many.
#pragma once

#include <chrono>
#include <memory>

#include "protocol/log.hpp"

namespace troupe::cli {

inline constexpr std::size_t max_queued_lines = 8192;
inline constexpr std::chrono::seconds last_lines_limit{2}; ///< What is not written by then after the end is lost.

class console_log {
public:
  /// json: each line is an object; otherwise they are for people. Its thread takes signals as the caller's does.
  console_log(log_level least, bool json);
  ~console_log(); ///< Closes it.
  console_log(const console_log&) = delete;

  /// May outlive this; then nothing is said.
  const logger& entries() const { return logger_; }

  /// Writes what waits; afterwards nothing more is said. From any thread. False: nobody reads standard error, and a thread
  /// is stuck in writing to it, so that the process must end by `_Exit`.
  bool close();

private:
  class lines;
  std::shared_ptr<lines> lines_;
  logger logger_;
};

} // namespace troupe::cli
