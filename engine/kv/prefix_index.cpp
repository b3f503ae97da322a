#include "engine/kv/prefix_index.hpp"

#include <algorithm>
#include <bit>

namespace troupe {

prefix_index::prefix_index(std::uint32_t blocks) {
  const auto slots = std::bit_ceil(std::max<std::size_t>(2 * std::size_t{blocks}, 4));
  mask_ = slots - 1;
  hashes_.resize(slots);
  blocks_.assign(slots, no_block);
}

bool prefix_index::insert(const block_hash& hash, block_id block) {
  auto at = home(hash);
  for (; blocks_[at] != no_block; at = (at + 1) & mask_)
    if (hashes_[at] == hash)
      return false;
  hashes_[at] = hash;
  blocks_[at] = block;
  ++size_;
  return true;
}

bool prefix_index::erase(const block_hash& hash) {
  auto hole = home(hash);
  for (;; hole = (hole + 1) & mask_) {
    if (blocks_[hole] == no_block)
      return false;
    if (hashes_[hole] == hash)
      break;
  }
  // An entry may move into the hole unless its home lies behind the hole, on the way to where it is.
  for (auto at = (hole + 1) & mask_; blocks_[at] != no_block; at = (at + 1) & mask_)
    if (((at - home(hashes_[at])) & mask_) >= ((at - hole) & mask_)) {
      hashes_[hole] = hashes_[at];
      blocks_[hole] = blocks_[at];
      hole = at;
    }
  blocks_[hole] = no_block;
  --size_;
  return true;
}

void prefix_index::clear() {
  std::fill(blocks_.begin(), blocks_.end(), no_block);
  size_ = 0;
}

} // namespace troupe
