#include "tools/troupe/bench/sse_reader.hpp"

#include <algorithm>

namespace troupe::cli {

bool sse_reader::feed(std::string_view bytes, const std::function<void(const std::string& data)>& event) {
  while (!bytes.empty() && !too_long_) {
    if (after_cr_ && bytes.front() == '\n') { // The second half of CRLF.
      after_cr_ = false;
      bytes.remove_prefix(1);
      continue;
    }
    after_cr_ = false;
    const auto end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    too_long_ = line_.size() + data_.size() > max_event_bytes;
    if (end == bytes.npos)
      break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(event);
  }
  return !too_long_;
}

void sse_reader::end_line(const std::function<void(const std::string&)>& event) {
  std::string_view line = line_;
  if (first_line_ && line.starts_with("\xEF\xBB\xBF")) // A byte order mark.
    line.remove_prefix(3);
  first_line_ = false;
  if (line.empty()) {
    if (has_data_)
      event(data_);
    data_.clear();
    has_data_ = false;
  } else if (line.substr(0, line.find(':')) == "data") {
    line.remove_prefix(std::min<std::size_t>(5, line.size()));
    if (line.starts_with(' '))
      line.remove_prefix(1);
    if (has_data_)
      data_ += '\n';
    data_ += line;
    has_data_ = true;
  }
  line_.clear();
}

} // namespace troupe::cli
