#include "engine/prefix_directory.hpp"

namespace troupe {

prefix_directory::holders& prefix_directory::entry_of(const block_hash& hash, const block_hash* above) {
  if (auto* found = blocks_.use(hash, above))
    return found->value;
  while (!blocks_.empty() && blocks_.size() >= max_blocks_)
    blocks_.remove(block_hash(blocks_.oldest().key));
  blocks_.put(hash, 0, {}, above);
  return blocks_.use(hash, above)->value;
}

void prefix_directory::stored(engine_index engine, const block_hash& hash, const block_hash* above) {
  entry_of(hash, above).stored |= set_of(engine);
}

void prefix_directory::removed(engine_index engine, const block_hash& hash) {
  // Not `use`: that it has gone somewhere makes it no more likely to be wanted. The key's place stays as it is.
  auto* found = blocks_.find(hash);
  if (!found)
    return;
  auto& known = found->value;
  known.stored &= ~set_of(engine);
  if (known.stored == 0 && known.guessed == 0)
    blocks_.remove(hash);
}

void prefix_directory::forget(engine_index engine) {
  blocks_.remove_if([&](auto& entry) {
    entry.value.stored &= ~set_of(engine);
    entry.value.guessed &= ~set_of(engine);
    return entry.value.stored == 0 && entry.value.guessed == 0;
  });
}

} // namespace troupe
