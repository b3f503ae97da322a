// Which block of one group holds the content of a given name: an open-addressing table, twice the size of the pool,
// so that it never grows and a look costs one or two cache lines. Nothing is allocated after construction.
//
// Owner: the KV-cache manager; one thread. Linear probing; erasing moves later entries back, so there are no
// tombstones and a table that has been full of changes is as fast as a new one.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv/block_hash.hpp"
#include "engine/kv/messages.hpp"

namespace troupe {

class prefix_index {
public:
  /// For at most `blocks` entries.
  explicit prefix_index(std::uint32_t blocks);

  /// The block, or `no_block`.
  block_id find(const block_hash& hash) const {
    for (auto at = home(hash);; at = (at + 1) & mask_)
      if (blocks_[at] == no_block || hashes_[at] == hash)
        return blocks_[at];
  }

  /// Asks the memory for what `find` will look at.
  void prefetch(const block_hash& hash) const {
    __builtin_prefetch(&blocks_[home(hash)]);
    __builtin_prefetch(&hashes_[home(hash)]);
  }

  /// False: the name is there already, and stays what it was. There must be room: a pool has no more blocks.
  bool insert(const block_hash& hash, block_id block);

  /// False: there is no such name.
  bool erase(const block_hash& hash);

  void clear();
  std::uint32_t size() const { return size_; }

private:
  std::size_t home(const block_hash& hash) const { return static_cast<std::size_t>(hash.words[0]) & mask_; }

  std::size_t mask_ = 0;
  std::uint32_t size_ = 0;
  std::vector<block_hash> hashes_;
  std::vector<block_id> blocks_; ///< `no_block` where there is no entry.
};

} // namespace troupe
