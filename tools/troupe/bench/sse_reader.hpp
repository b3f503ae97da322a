// Server-sent events as they come, however the bytes are cut.
// Source: WHATWG HTML, "Server-sent events", section 9.2.5 (parsing an event stream).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace troupe::cli {

inline constexpr std::size_t max_event_bytes = 16u << 20;

class sse_reader {
public:
  /// Takes the next bytes, and calls `event` with the data of each event that they complete. Lines end with LF, CR or CRLF;
  /// comments and fields other than data are passed over; several data lines of an event are joined by LF; what no
  /// empty line has ended is no event. False when an event is longer than `max_event_bytes`: nothing more is taken.
  bool feed(std::string_view bytes, const std::function<void(const std::string& data)>& event);

private:
  void end_line(const std::function<void(const std::string&)>& event);

  std::string line_, data_;
  bool has_data_ = false, after_cr_ = false, first_line_ = true, too_long_ = false;
};

} // namespace troupe::cli
