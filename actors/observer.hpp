// Who is told what happens in a Troupe, to count it or to show it: metrics, the page's stage, a trace.
//
// Threads: called by streams, executors and workers, each in its own, several at a time. An observer takes microseconds;
// it neither waits nor throws, and nothing depends on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe {

/// One request, when it has ended. Phases that it never came to are nothing.
struct request_record {
  std::uint64_t connection = 0; ///< Of the client that owns it; those of another client may have the same number.
  request_id id = 0;
  request_origin origin;
  finish_reason reason = finish_reason::stop;
  errc failure = errc::none;
  usage_counts usage;
  std::uint32_t n = 1;
  std::uint32_t max_tokens = 0;
  std::uint32_t longest_answer = 0; ///< Tokens of the longest of the n answers.
  std::chrono::steady_clock::time_point begun;
  std::optional<double> queue_s;   ///< From when it was taken until its first sequence was admitted to the steps.
  std::optional<double> prefill_s; ///< From then to its first token.
  std::optional<double> decode_s;  ///< From then to its end.
  double total_s = 0;              ///< From when it was taken to its end.
};

/// One step of one engine, when its result is there.
struct step_record {
  std::uint32_t engine = 0;
  std::uint64_t step = 0, epoch = 0;
  std::uint32_t prefill_tokens = 0; ///< Rows of prompts, and of answers that are computed again.
  std::uint32_t decode_tokens = 0;  ///< Rows of the last tokens, and of drafts.
  std::uint32_t sequences = 0;
  std::chrono::steady_clock::time_point begun, ended; ///< From the end of the step before it, or when it was sent.
};

/// What one worker did of a step.
struct part_record {
  std::uint32_t engine = 0;
  std::uint64_t step = 0, epoch = 0;
  std::uint32_t stage = 0, rank = 0;
  std::chrono::steady_clock::time_point begun, ended; ///< It had all that it needed; it had what comes of it.
};

class observer {
public:
  virtual ~observer() = default;

  /// A request was taken, and nothing is wrong with it by itself. It is as it came, and this one's during the call alone.
  virtual void taken(const generate_request& request, std::uint64_t connection) {
    static_cast<void>(request);
    static_cast<void>(connection);
  }

  /// So long after a request was taken its first token was there.
  virtual void first_token(double seconds) { static_cast<void>(seconds); }

  /// Another token of a sequence was there so long after the one before it, or, if it is the first of another answer to
  /// the same request, after the request's first one. Of several that one step has brought, the later ones took no time.
  virtual void next_token(double seconds) { static_cast<void>(seconds); }

  /// One that was admitted.
  virtual void ended(const request_record& request) { static_cast<void>(request); }

  /// One that never was: something is wrong with it, too much waits, or it was cancelled before.
  virtual void refused(const request_record& request) { static_cast<void>(request); }

  virtual void ended(const step_record& step) { static_cast<void>(step); }

  /// Of each worker and step, where `wants_parts` says so: from a process a message for each.
  virtual void computed(const part_record& part) { static_cast<void>(part); }

  /// Constant.
  virtual bool wants_parts() const { return false; }
};

/// All who are told, in turn.
using observers = std::vector<std::shared_ptr<observer>>;

} // namespace troupe
