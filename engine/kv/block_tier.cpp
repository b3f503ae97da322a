#include "engine/kv/block_tier.hpp"

#include <algorithm>

namespace troupe {

tier_saves save_all(block_tier& tier, std::span<const tier_block> blocks) {
  tier_saves result;
  result.saved.resize(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto one = tier.save(blocks[i]);
    result.saved[i] = one.saved;
    std::ranges::copy(one.evicted, std::back_inserter(result.evicted));
    if (one.problem)
      result.problem = std::move(one.problem);
  }
  // A block may go and come back within one batch.
  std::erase_if(result.evicted, [&](const block_hash& hash) { return tier.contains(hash); });
  return result;
}

void use_all(block_tier& tier, std::span<const block_hash> hashes) {
  for (std::size_t i = hashes.size(); i-- > 0;)
    tier.use(hashes[i]);
}

std::vector<shared_bytes> load_all(block_tier& tier, std::span<const block_hash> hashes) {
  std::vector<shared_bytes> result(hashes.size());
  for (std::size_t i = hashes.size(); i-- > 0;)
    if (auto found = tier.load(hashes[i]))
      result[i] = std::move(*found);
  return result;
}

} // namespace troupe
