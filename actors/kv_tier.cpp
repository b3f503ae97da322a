#include "actors/kv_tier.hpp"

#include "actors/exceptions.hpp"

namespace troupe {

kv_tier_actor::behavior_type kv_tier(kv_tier_actor::stateful_pointer<kv_tier_actor_state> self, tier_factory open) {
  explain_exceptions(self);
  if (auto tier = open())
    self->state.tier = std::move(*tier);
  else
    self->state.failed = tier.error();
  return {
    [=](list_atom) -> expected<std::vector<block_hash>> {
      if (self->state.failed)
        return tl::unexpected(*self->state.failed);
      return self->state.tier->list();
    },
    [=](save_atom, const std::vector<tier_block>& blocks) {
      if (!self->state.tier)
        return tier_saves{std::vector<bool>(blocks.size()), {}, {}};
      return save_all(*self->state.tier, blocks);
    },
    [=](load_atom, const std::vector<block_hash>& hashes) {
      if (!self->state.tier)
        return std::vector<shared_bytes>(hashes.size());
      return load_all(*self->state.tier, hashes);
    },
    [=](use_atom, const std::vector<block_hash>& hashes) {
      if (self->state.tier)
        use_all(*self->state.tier, hashes);
      return expected<nothing>(nothing{});
    },
    [=](drop_atom, const std::vector<block_hash>& hashes) {
      for (const auto& hash : hashes)
        if (self->state.tier)
          self->state.tier->drop(hash);
    },
    [=](status_atom) {
      return self->state.tier ? self->state.tier->layers()
                              : std::vector<tier_counts>{{.name = "none", .accepts = false}};
    },
    [=](check_atom) {
      auto sound = self->state.tier ? self->state.tier->check_integrity() : expected<void>();
      return expected<nothing>(sound.map([] { return nothing{}; }));
    },
  };
}

} // namespace troupe
