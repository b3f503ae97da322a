#pragma once

#include "actors/interfaces.hpp"
#include "engine/kv/event_buffer.hpp"
#include "protocol/log.hpp"

namespace troupe {

/// Who the manager works with, beside its scheduler.
struct kv_cache_partners {
  executor_actor executor;   ///< Through it contents are read and written, where there is a tier.
  kv_tier_actor tier;        ///< Invalid: none.
  kv_events_actor publisher; ///< Invalid: events are not published.
  logger log{};
};

struct kv_cache_state {
  kv_cache_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::optional<kv_store> store;
  kv_cache_partners partners;
  scheduler_actor scheduler;
  engine_watcher_actor watcher; ///< Invalid: nobody chooses among engines.
  engine_index engine = 0;      ///< As it knows this one.
  std::uint64_t epoch = 0;      ///< Of the last report.
  kv_event_numbers numbers;
  bool ready =
    true; ///< False until the tier has said what it has: a prompt that is looked up before would find nothing.
  std::optional<std::pair<kv_report, caf::typed_response_promise<kv_grant>>> first_report; ///< Waits for that.
  bool telling_uses = false; ///< A message with them is on its way: the next one waits for its answer.
  std::vector<caf::typed_response_promise<expected<nothing>>>
    flushing; ///< To be answered when nothing is left to save.
  static inline const char* name = "kv_cache";
};

using kv_cache_pointer = kv_cache_actor::stateful_pointer<kv_cache_state>;

/// The KV-cache manager of one engine. What it knows and decides is in engine/kv/store.hpp.
kv_cache_actor::behavior_type kv_cache(kv_cache_pointer self, kv_store store, kv_cache_partners partners);

/// Tells the store what the tier has from before (kv_transfers.cpp); then the manager is `ready`.
void learn_what_the_tier_has(kv_cache_pointer self);

/// Answers a report that had to wait.
void get_ready(kv_cache_pointer self);

/// Begins whatever transfers between device and tier the store wants now.
void begin_transfers(kv_cache_pointer self);

/// Saves what is not saved yet (kv_transfers.cpp).
caf::result<expected<nothing>> flush(kv_cache_pointer self);

} // namespace troupe
