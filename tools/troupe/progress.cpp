#include "tools/troupe/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include <fmt/format.h>

namespace troupe::cli {

namespace {

constexpr std::size_t bar_width = 30;
constexpr std::chrono::seconds quiet{2};
constexpr std::chrono::milliseconds pause{200};
constexpr const char* clear_line = "\r\x1b[K";

} // namespace

std::string bar_of(std::size_t done, std::size_t total) {
  const auto filled = total ? std::min(bar_width, bar_width * done / total) : bar_width;
  return fmt::format("[{:#<{}}{:.<{}}] {}/{}", "", filled, "", bar_width - filled, done, total);
}

progress::progress(std::string what, std::size_t total)
    : what_(std::move(what)), total_(total), terminal_(isatty(STDERR_FILENO)) {}

progress::~progress() {
  if (shown_)
    std::cerr << clear_line << std::flush;
}

void progress::show(std::size_t done) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - start_ < quiet || now - last_ < pause)
    return;
  last_ = now;
  shown_ = true;
  const auto seconds = std::chrono::duration<double>(now - start_).count();
  std::cerr << fmt::format("{}{} {}  {:.0f} s", clear_line, what_, bar_of(done, total_), seconds) << std::flush;
}

} // namespace troupe::cli
