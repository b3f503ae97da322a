#include "engine/kv/event_buffer.hpp"

#include <utility>

namespace troupe {

std::optional<kv_event_batch> kv_event_numbers::next(kv_events taken) {
  std::optional<kv_event_batch> batch;
  if (!taken.events.empty())
    batch = kv_event_batch{next_++, std::move(taken.events)};
  if (taken.dropped > 0) // They came after these events.
    ++next_;
  return batch;
}

bool event_buffer::add(std::uint64_t sequence, shared_payload payload) {
  if (sequence < next_)
    return false;
  missing_ += sequence - next_;
  next_ = sequence + 1;
  bytes_ += payload->size();
  steps_.push_back({sequence, std::move(payload)});
  while (!steps_.empty() && (steps_.size() > max_steps_ || bytes_ > max_bytes_)) {
    bytes_ -= steps_.front().payload->size();
    steps_.pop_front();
  }
  return true;
}

} // namespace troupe
