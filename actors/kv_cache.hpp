#pragma once

#include "actors/interfaces.hpp"

namespace troupe {

struct kv_cache_state {
  kv_cache_state() : pool(0) {}

  block_pool pool;
  static inline const char* name = "kv_cache";
};

/// The KV-cache manager of one engine with so many blocks.
kv_cache_actor::behavior_type kv_cache(kv_cache_actor::stateful_pointer<kv_cache_state> self, std::uint32_t blocks);

} // namespace troupe
