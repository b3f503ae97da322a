#include "engine/kv/memory_tier.hpp"

namespace troupe {

std::vector<block_hash> memory_tier::list() const {
  std::vector<block_hash> result;
  result.reserve(blocks_.size());
  for (const auto& block : blocks_.entries())
    result.push_back(block.key);
  return result;
}

tier_saved memory_tier::save(const tier_block& block) {
  tier_saved result;
  const auto* parent = block.parent ? &*block.parent : nullptr;
  if (blocks_.use(block.hash, parent)) {
    result.saved = true;
    return result;
  }
  const auto bytes = block.bytes->size();
  if (bytes > counts_.capacity)
    return result;
  while (blocks_.bytes() + bytes > counts_.capacity) {
    const auto oldest = blocks_.oldest().key;
    if (oldest == block.parent)
      return result;
    result.evicted.push_back(oldest);
    ++counts_.evicted;
    blocks_.remove(oldest);
  }
  ++counts_.saved;
  blocks_.put(block.hash, bytes, block.bytes, parent);
  result.saved = true;
  return result;
}

expected<shared_bytes> memory_tier::load(const block_hash& hash) {
  if (const auto* found = blocks_.use(hash)) {
    ++counts_.loaded;
    return found->value;
  }
  ++counts_.missed;
  return fail(errc::not_found, "The block is not in the memory tier.");
}

tier_counts memory_tier::counts() const {
  auto result = counts_;
  result.blocks = blocks_.size();
  result.bytes = blocks_.bytes();
  return result;
}

expected<void> memory_tier::check_integrity() const {
  if (auto sound = blocks_.check_integrity(); !sound)
    return sound;
  if (blocks_.bytes() > counts_.capacity)
    return fail(errc::internal, "The memory tier holds " + std::to_string(blocks_.bytes()) + " bytes, over its " +
                                  std::to_string(counts_.capacity) + ".");
  return {};
}

} // namespace troupe
