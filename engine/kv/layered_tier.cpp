#include "engine/kv/layered_tier.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

std::vector<block_hash> layered_tier::list() const {
  auto result = behind_->list();
  for (const auto& hash : front_.list())
    if (!behind_->contains(hash))
      result.push_back(hash);
  return result;
}

tier_saved layered_tier::save(const tier_block& block) {
  auto result = behind_->save(block);
  const auto in_front = front_.save(block);
  result.saved = result.saved || in_front.saved;
  for (const auto& hash : in_front.evicted)
    if (std::ranges::find(result.evicted, hash) == result.evicted.end())
      result.evicted.push_back(hash);
  std::erase_if(result.evicted, [&](const block_hash& hash) { return contains(hash); });
  return result;
}

expected<shared_bytes> layered_tier::load(const block_hash& hash) {
  if (auto found = front_.load(hash)) {
    behind_->use(hash);
    return found;
  }
  auto found = behind_->load(hash);
  if (found)
    front_.save({hash, *found});
  return found;
}

void layered_tier::use(const block_hash& hash) {
  front_.use(hash);
  behind_->use(hash);
}

void layered_tier::drop(const block_hash& hash) {
  front_.drop(hash);
  behind_->drop(hash);
}

tier_counts layered_tier::counts() const {
  auto result = front_.counts();
  const auto more = behind_->counts();
  result.name = name();
  result.blocks += more.blocks;
  result.bytes += more.bytes;
  result.capacity += more.capacity;
  result.saved += more.saved;
  result.loaded += more.loaded;
  result.missed += more.missed;
  result.evicted += more.evicted;
  result.damaged += more.damaged;
  result.accepts = more.accepts;
  return result;
}

expected<void> layered_tier::check_integrity() const {
  if (auto sound = front_.check_integrity(); !sound)
    return sound;
  return behind_->check_integrity();
}

} // namespace troupe
