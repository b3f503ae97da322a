// What happened, as events of Chrome's trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing load.
//
// A process stands for each engine: a track for its steps, one for each worker. Another stands for all requests: each is an
// asynchronous span, with its queue, prefill and decode nested in it. Prompts and answers are nowhere.
// Source: "Trace Event Format" (Google, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "actors/observer.hpp"

namespace troupe::serve {

/// Appends events, each as a line with a comma at its end. Times are microseconds from `origin` on.
class trace_text {
public:
  explicit trace_text(std::chrono::steady_clock::time_point origin) : origin_(origin) {}

  /// The beginning of a file.
  void begin(std::string& out) const;
  void append(std::string& out, const request_record& request);
  void append(std::string& out, const step_record& step);
  void append(std::string& out, const part_record& part);

  /// The end, with what a reader should know: how many events there are not. Without it a file is one that was cut, and is
  /// loaded all the same.
  void end(std::string& out, std::chrono::steady_clock::time_point now, std::uint64_t dropped) const;

private:
  using track = std::pair<std::uint32_t, std::uint32_t>; ///< Process and thread.

  double microseconds(std::chrono::steady_clock::time_point time) const;
  void name_track(std::string& out, std::uint32_t engine, std::uint32_t thread, const std::string& name);

  std::chrono::steady_clock::time_point origin_;
  std::set<track> named_;
  std::uint64_t last_request_ = 0; ///< Names its spans; clients' own ids come again.
};

} // namespace troupe::serve
