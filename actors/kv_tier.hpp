#pragma once

#include <functional>

#include "actors/interfaces.hpp"

namespace troupe {

/// Opens a tier, in the thread of its actor: a folder of many blocks takes a while to read.
using tier_factory = std::function<expected<std::unique_ptr<block_tier>>()>;

struct kv_tier_actor_state {
  kv_tier_actor_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::unique_ptr<block_tier> tier; ///< None if it could not be opened.
  std::optional<error> failed;
  static inline const char* name = "kv_tier";
};

/// The keeper of one tier; spawn it detached where the tier may wait for a disk.
kv_tier_actor::behavior_type kv_tier(kv_tier_actor::stateful_pointer<kv_tier_actor_state> self, tier_factory open);

} // namespace troupe
