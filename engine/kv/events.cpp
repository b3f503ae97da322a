#include "engine/kv/events.hpp"

#include <utility>

namespace troupe {

bool kv_event_log::has_room() {
  if (!is_on())
    return false;
  // After the first loss all is lost until the log is taken: what is in it has no gap.
  if (log_.dropped > 0 || blocks_ >= max_blocks_) {
    ++log_.dropped;
    return false;
  }
  ++blocks_;
  return true;
}

void kv_event_log::stored(kv_group group, const block_hash& hash, std::optional<block_hash> parent,
                          std::span<const token_id> tokens, const prefix_key& key) {
  if (!has_room())
    return;
  auto continues = [&](const kv_event& last) {
    return last.kind == kv_event::kind_type::block_stored && last.group == group && parent &&
           last.hashes.back() == *parent;
  };
  if (log_.events.empty() || !continues(log_.events.back())) {
    kv_event event;
    event.group = group;
    event.parent = parent;
    event.adapter = key.adapter;
    if (!parent)
      event.salt = key.salt;
    log_.events.push_back(std::move(event));
  }
  auto& event = log_.events.back();
  event.hashes.push_back(hash);
  event.tokens.insert(event.tokens.end(), tokens.begin(), tokens.end());
}

void kv_event_log::removed(kv_group group, const block_hash& hash) {
  if (!has_room())
    return;
  if (log_.events.empty() || log_.events.back().kind != kv_event::kind_type::block_removed ||
      log_.events.back().group != group) {
    kv_event event;
    event.kind = kv_event::kind_type::block_removed;
    event.group = group;
    log_.events.push_back(std::move(event));
  }
  log_.events.back().hashes.push_back(hash);
}

void kv_event_log::cleared() {
  if (!has_room())
    return;
  kv_event event;
  event.kind = kv_event::kind_type::all_cleared;
  log_.events.push_back(std::move(event));
}

kv_events kv_event_log::take() {
  blocks_ = 0;
  return std::exchange(log_, {});
}

} // namespace troupe
