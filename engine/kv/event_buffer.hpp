// Payloads that have been published, for subscribers that have missed some: the last ones, in a limited number and a
// limited number of bytes.
//
// Owner of a buffer: the actor that publishes (actors/kv_events.hpp); one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/kv/events.hpp"

namespace troupe {

/// Events that are published together, and their number.
struct kv_event_batch {
  std::uint64_t sequence = 0;
  std::vector<kv_event> events;
};

/// Numbers what a log gives, from 0. Where the log has lost events a number is left out, so that subscribers see it.
/// Owner: the KV-cache manager.
class kv_event_numbers {
public:
  /// Nothing where there is nothing to publish.
  std::optional<kv_event_batch> next(kv_events taken);

private:
  std::uint64_t next_ = 0;
};

/// Shared with the sockets that still send it.
using shared_payload = std::shared_ptr<const std::string>;

class event_buffer {
public:
  event_buffer(std::size_t max_steps, std::size_t max_bytes) : max_steps_(max_steps), max_bytes_(max_bytes) {}

  /// Sequence numbers rise; they need not be without gaps. False: it is not higher than the last one, and ignored.
  bool add(std::uint64_t sequence, shared_payload payload);

  /// Calls `take(sequence, payload)` for all from `start` on, in order, until it returns false.
  template <class Take>
  void replay(std::uint64_t start, Take take) const {
    for (const auto& step : steps_)
      if (step.sequence >= start && !take(step.sequence, step.payload))
        return;
  }

  std::size_t steps() const { return steps_.size(); }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t next() const { return next_; }       ///< One more than the highest number so far.
  std::uint64_t missing() const { return missing_; } ///< Numbers that were left out, from 0 on.

private:
  struct step {
    std::uint64_t sequence;
    shared_payload payload;
  };

  std::size_t max_steps_, max_bytes_;
  std::deque<step> steps_;
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 0, missing_ = 0;
};

} // namespace troupe
