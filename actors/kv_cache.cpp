#include "actors/kv_cache.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

kv_cache_actor::behavior_type kv_cache(kv_cache_actor::stateful_pointer<kv_cache_state> self, std::uint32_t blocks) {
  explain_exceptions(self);
  self->state.pool = block_pool(blocks);
  return {
    [=](report_atom, const kv_report& report) -> caf::result<kv_grant> {
      auto grant = apply_report(self->state.pool, report);
      if (!grant) // The scheduler's account and ours differ: going on would give one block to two sequences.
        return caf::make_error(caf::sec::runtime_error, grant.error().message);
      return std::move(*grant);
    },
    [=](status_atom) { return self->state.pool.counts(); },
    [=](check_atom) { return expected<nothing>(self->state.pool.check_integrity().map([] { return nothing{}; })); },
  };
}

} // namespace troupe
