// Which engines have which blocks of prefixes in their caches, as far as a router knows: what their KV-cache managers
// have told, and what was guessed when a request was placed, until that has ended or its blocks are there.
//
// It may be wrong on both sides, and nobody relies on it but for speed. It is bounded: the least recently used blocks
// fall out, of a chain the last ones first.
//
// Owner: the router; one thread. Every call but `forget` takes constant time.
#pragma once

#include "engine/kv/block_hash.hpp"
#include "engine/kv/lru_index.hpp"

namespace troupe {

/// Counts the engines behind one router, from 0.
using engine_index = std::uint32_t;

/// A bit for each of them.
using engine_set = std::uint64_t;
inline constexpr std::size_t max_engines = 64;

inline engine_set set_of(engine_index engine) {
  return engine_set{1} << engine;
}

class prefix_directory {
public:
  explicit prefix_directory(std::size_t max_blocks) : max_blocks_(max_blocks) {}

  /// An engine has said that it has the block, or has it no more. `above` is the block before it in its chain.
  void stored(engine_index engine, const block_hash& hash, const block_hash* above);
  void removed(engine_index engine, const block_hash& hash);

  /// This engine will have the block, if it has not, when the request that is placed there has got so far. Guesses of
  /// one block count as long as the last request for which there was one is open.
  template <class IsOpen>
  void guess(engine_index engine, const block_hash& hash, const block_hash* above, sequence_id request,
             IsOpen is_open) {
    auto& known = entry_of(hash, above);
    if (!is_open(known.request))
      known.guessed = 0;
    known.guessed |= set_of(engine);
    known.request = request;
  }

  /// Those who have the block, or are thought to. It counts as used.
  template <class IsOpen>
  engine_set who_has(const block_hash& hash, const block_hash* above, IsOpen is_open) {
    const auto* found = blocks_.use(hash, above);
    if (!found)
      return 0;
    const auto& known = found->value;
    return known.guessed != 0 && is_open(known.request) ? known.stored | known.guessed : known.stored;
  }

  /// This engine has nothing any more, or nobody knows what. Looks at all blocks.
  void forget(engine_index engine);

  std::size_t size() const { return blocks_.size(); }

private:
  struct holders {
    engine_set stored = 0, guessed = 0;
    sequence_id request = 0; ///< The last one for which there was a guess.
  };

  holders& entry_of(const block_hash& hash, const block_hash* above);

  std::size_t max_blocks_;
  lru_index<block_hash, holders, block_hash_hasher> blocks_;
};

} // namespace troupe
