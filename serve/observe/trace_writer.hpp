// Writes what happens into a file, for Perfetto: `--trace FILE`.
//
// Those who report append to a queue, under a lock that is held for that alone; a thread of its own makes text of it and
// writes it, at most `gather` later. What is more than the queue or the file may have is dropped, counted and told.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "protocol/log.hpp"
#include "serve/observe/trace_text.hpp"

namespace troupe::serve {

struct trace_options {
  std::size_t max_queued = 65536;                   ///< Steps, parts of steps and requests that wait to be written.
  std::uint64_t max_bytes = std::uint64_t{1} << 30; ///< Of the file; what loads traces loads no larger ones.
  std::chrono::milliseconds gather{50};             ///< Between two writes.
  logger log;
};

class trace_writer final : public observer {
public:
  /// A file that is there is written anew. The thread takes signals as the caller's does. Errors: io.
  static expected<std::shared_ptr<trace_writer>> open(const std::filesystem::path& file, trace_options options = {});
  ~trace_writer() override;

  void ended(const request_record& request) override { keep(request); }
  void refused(const request_record& request) override { keep(request); }
  void ended(const step_record& step) override { keep(step); }
  void computed(const part_record& part) override { keep(part); }
  bool wants_parts() const override { return true; }

  /// Writes what is left and the end. Nobody reports any more.
  void finish();

  std::uint64_t dropped() const;

private:
  using record = std::variant<request_record, step_record, part_record>;

  trace_writer(int file, trace_options options);
  void keep(record what);
  void run();
  void write_all(const std::vector<record>& records);
  /// False: it is not in the file, nor is any part of it, unless the file is `torn_`.
  bool write(const std::string& bytes);

  const int file_;
  const trace_options options_;
  mutable std::mutex lock_;
  std::condition_variable woken_;
  std::vector<record> queue_;
  std::uint64_t dropped_ = 0;
  bool ending_ = false;
  // Of the thread.
  trace_text text_{std::chrono::steady_clock::now()};
  std::uint64_t written_ = 0; ///< Bytes.
  bool full_ = false;         ///< Nothing more can be written but the end,
  bool torn_ = false;         ///< and not even that: it would not stand behind a whole event.
  bool failed_ = false;       ///< It has been told.
  std::thread thread_;
};

} // namespace troupe::serve
