// A server's counts by name, once for all who write and read them: the wire's two ends and `troupe status`.
#pragma once

#include <concepts>
#include <type_traits>

#include "protocol/messages.hpp"

namespace troupe {

template <class T, class Counts>
concept maybe_const = std::same_as<std::remove_const_t<T>, Counts>;

/// Calls `field(name, member)` for each member, in the order of the wire; names are literals.
template <maybe_const<tier_status> Tier, class Fields>
void each_field(Tier& tier, Fields&& field) {
  field("name", tier.name);
  field("blocks", tier.blocks);
  field("bytes", tier.bytes);
  field("capacity", tier.capacity);
  field("saved", tier.saved);
  field("loaded", tier.loaded);
  field("missed", tier.missed);
  field("evicted", tier.evicted);
  field("damaged", tier.damaged);
  field("accepts", tier.accepts);
}

template <maybe_const<server_status> Status, class Fields>
void each_field(Status& status, Fields&& field) {
  field("open_requests", status.open_requests);
  field("waiting", status.waiting);
  field("running", status.running);
  field("paused", status.paused);
  field("refused", status.refused);
  field("kv_blocks", status.kv_blocks);
  field("kv_free", status.kv_free);
  field("kv_cached", status.kv_cached);
  field("kv_leased", status.kv_leased);
  field("kv_owned", status.kv_owned);
  field("prefix_queries", status.prefix_queries);
  field("prefix_query_tokens", status.prefix_query_tokens);
  field("prefix_hit_tokens", status.prefix_hit_tokens);
  field("preemptions", status.preemptions);
  field("steps", status.steps);
  field("draining", status.draining);
  field("engines", status.engines);
  field("restarts", status.restarts);
  field("lost_steps", status.lost_steps);
  field("last_recovery_ms", status.last_recovery_ms);
  field("tier_hit_tokens", status.tier_hit_tokens);
  field("tiers", status.tiers);
}

} // namespace troupe
