// Who stands between two actors of the tree, where somebody does.
//
// Each function is given the actor that the supervisor has spawned and answers with the one that others are to know
// in its place: one that delays, watches, cuts or forges what passes. Whoever it is must look like the actor itself:
// die when it dies, pass exits on, keep the order of messages. An empty function leaves the actor as it is.
//
// Owner: the supervisor, which calls them in its own handlers.
#pragma once

#include <functional>

#include "actors/interfaces.hpp"

namespace troupe {

struct stand_ins {
  std::function<kv_cache_actor(const kv_cache_actor&)> kv_cache;    ///< As the scheduler knows it.
  std::function<executor_actor(const executor_actor&)> executor;    ///< As the scheduler knows it.
  std::function<scheduler_actor(const scheduler_actor&)> scheduler; ///< As the router and the streams know it.
  std::function<stage_actor(const stage_actor&)> stage;    ///< As the executor knows it; a new one each time.
  std::function<router_actor(const router_actor&)> router; ///< As the streams know it.
  std::function<tokenizer_actor(const tokenizer_actor&)> tokenizer; ///< As the streams know it.
  std::function<kv_tier_actor(const kv_tier_actor&)> kv_tier;       ///< As the KV-cache manager knows it.
};

/// The actor that others are to know.
template <class Handle>
Handle in_place_of(const Handle& actor, const std::function<Handle(const Handle&)>& stand_in) {
  return stand_in ? stand_in(actor) : actor;
}

} // namespace troupe
