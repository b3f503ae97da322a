#include "serve/observe/trace_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace troupe::serve {

namespace {

constexpr std::size_t end_bytes = 256; ///< Kept free for the end.

} // namespace

expected<std::shared_ptr<trace_writer>> trace_writer::open(const std::filesystem::path& file, trace_options options) {
  const int opened = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (opened < 0)
    return fail(errc::io, "Cannot write a trace to " + file.string() + ": " + std::strerror(errno) +
                            ". Choose another file with --trace.");
  return std::shared_ptr<trace_writer>(new trace_writer(opened, std::move(options)));
}

trace_writer::trace_writer(int file, trace_options options) : file_(file), options_(std::move(options)) {
  std::string head;
  text_.begin(head);
  full_ = torn_ = !write(head);
  thread_ = std::thread([this] { run(); });
}

trace_writer::~trace_writer() {
  finish();
  ::close(file_);
}

void trace_writer::keep(record what) {
  bool first = false;
  {
    const std::lock_guard guard(lock_);
    if (queue_.size() >= options_.max_queued || ending_) {
      ++dropped_;
      return;
    }
    first = queue_.empty();
    queue_.push_back(std::move(what));
  }
  if (first)
    woken_.notify_one();
}

void trace_writer::run() {
  std::vector<record> taken;
  std::unique_lock guard(lock_);
  while (true) {
    woken_.wait(guard, [&] { return ending_ || !queue_.empty(); });
    woken_.wait_for(guard, options_.gather, [&] { return ending_; });
    if (queue_.empty() && ending_)
      return;
    taken.swap(queue_);
    guard.unlock();
    write_all(taken);
    taken.clear();
    guard.lock();
  }
}

void trace_writer::write_all(const std::vector<record>& records) {
  std::string bytes;
  if (!full_)
    for (const auto& each : records)
      std::visit([&](const auto& what) { text_.append(bytes, what); }, each);
  const bool room = written_ + bytes.size() + end_bytes <= options_.max_bytes;
  if (!full_ && room && write(bytes))
    return;
  if (!full_ && !room)
    say(options_.log, log_level::warning, "trace_full",
        "the trace has its full size: nothing more is written to it.");
  full_ = true;
  const std::lock_guard guard(lock_);
  dropped_ += records.size();
}

bool trace_writer::write(const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const auto put = ::write(file_, bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0) {
      const int problem = errno;
      if (!std::exchange(failed_, true))
        say(options_.log, log_level::warning, "trace_failed",
            std::string("the trace cannot be written any more: ") + std::strerror(problem) + ".");
      const auto whole = static_cast<off_t>(written_);
      torn_ = torn_ || (done > 0 && (::ftruncate(file_, whole) != 0 || ::lseek(file_, whole, SEEK_SET) != whole));
      return false;
    }
    done += static_cast<std::size_t>(put);
  }
  written_ += bytes.size();
  return true;
}

std::uint64_t trace_writer::dropped() const {
  const std::lock_guard guard(lock_);
  return dropped_;
}

void trace_writer::finish() {
  if (!thread_.joinable())
    return;
  {
    const std::lock_guard guard(lock_);
    ending_ = true;
  }
  woken_.notify_one();
  thread_.join();
  std::string end;
  text_.end(end, std::chrono::steady_clock::now(), dropped_);
  if (!torn_ && written_ + end.size() <= options_.max_bytes)
    write(end);
  if (dropped_ > 0)
    say(options_.log, log_level::warning, "trace_dropped",
        "the trace lacks " + std::to_string(dropped_) + " steps, parts of steps and requests.");
}

} // namespace troupe::serve
