// The tier in the host's memory, for devices whose memory is another.
#pragma once

#include "engine/kv/block_tier.hpp"
#include "engine/kv/lru_index.hpp"

namespace troupe {

class memory_tier final : public block_tier {
public:
  /// `capacity` in bytes of contents; what the index takes comes on top, some 150 bytes a block.
  explicit memory_tier(std::uint64_t capacity) {
    counts_.name = name();
    counts_.capacity = capacity;
  }

  std::string_view name() const override { return "host"; }
  std::vector<block_hash> list() const override;
  bool contains(const block_hash& hash) const override { return blocks_.contains(hash); }
  tier_saved save(const tier_block& block) override;
  expected<shared_bytes> load(const block_hash& hash) override;
  void use(const block_hash& hash) override { blocks_.use(hash); }
  void drop(const block_hash& hash) override { blocks_.remove(hash); }
  tier_counts counts() const override;
  expected<void> check_integrity() const override;

private:
  lru_index<block_hash, shared_bytes, block_hash_hasher> blocks_;
  tier_counts counts_;
};

} // namespace troupe
