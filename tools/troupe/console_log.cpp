#include "tools/troupe/console_log.hpp"

#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "serve/observe/log_text.hpp"

namespace troupe::cli {

namespace {

constexpr const char* text_pattern = "%Y-%m-%dT%H:%M:%S.%eZ %l: %v";
constexpr const char* json_pattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

spdlog::level::level_enum level_of(log_level level) {
  switch (level) {
  case log_level::debug:
    return spdlog::level::debug;
  case log_level::info:
    return spdlog::level::info;
  case log_level::warning:
    return spdlog::level::warn;
  case log_level::error:
    return spdlog::level::err;
  }
  return spdlog::level::err;
}

} // namespace

class console_log::lines {
public:
  explicit lines(bool json)
      : json_(json), writer_(std::make_shared<spdlog::details::thread_pool>(max_queued_lines, 1)) {
    auto standard_error = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    standard_error->set_formatter(std::make_unique<spdlog::pattern_formatter>(json ? json_pattern : text_pattern,
                                                                              spdlog::pattern_time_type::utc));
    out_ = std::make_shared<spdlog::async_logger>("troupe", std::move(standard_error), writer_,
                                                  spdlog::async_overflow_policy::overrun_oldest);
    out_->set_level(spdlog::level::debug);
  }

  void take(const log_entry& entry) {
    const auto line = line_of(entry);
    const std::lock_guard guard(lock_);
    if (!writer_)
      return;
    if (const auto lost = writer_->overrun_counter(); lost != told_lost_) {
      log_entry told{log_level::warning, "log_lost", "lines of the log were lost", {}};
      told.fields.push_back({"lines", std::uint64_t{lost - told_lost_}});
      write(told.level, line_of(told));
      told_lost_ = lost;
    }
    write(entry.level, line);
  }

  bool close() {
    auto writer = [&] {
      const std::lock_guard guard(lock_);
      return std::exchange(writer_, nullptr);
    }();
    if (!writer)
      return true;
    std::promise<void> written;
    auto ended = written.get_future();
    // The last that holds it: its thread writes what waits, and ends. That is waited for elsewhere: it may take for ever.
    std::thread([writer = std::move(writer), written = std::move(written)]() mutable {
      writer.reset();
      written.set_value();
    }).detach();
    return ended.wait_for(last_lines_limit) == std::future_status::ready;
  }

private:
  std::string line_of(const log_entry& entry) const {
    return json_ ? serve::json_members_of(entry) : serve::text_of(entry);
  }
  void write(log_level level, const std::string& line) { out_->log(level_of(level), spdlog::string_view_t(line)); }

  const bool json_;
  std::mutex lock_;
  std::shared_ptr<spdlog::details::thread_pool> writer_;
  std::shared_ptr<spdlog::async_logger> out_;
  std::size_t told_lost_ = 0;
};

console_log::console_log(log_level least, bool json) : lines_(std::make_shared<lines>(json)) {
  logger_.least = least;
  logger_.take = [to = lines_](const log_entry& entry) { to->take(entry); };
}

console_log::~console_log() {
  close();
}

bool console_log::close() {
  return lines_->close();
}

} // namespace troupe::cli
