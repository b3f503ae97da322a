// Host memory in front of another tier: what is saved goes to both, what is asked for is looked for in memory first,
// and what was found behind it only is in memory from then on.
//
// Owner: as of every tier; one thread.
#pragma once

#include <memory>

#include "engine/kv/memory_tier.hpp"

namespace troupe {

class layered_tier final : public block_tier {
public:
  /// `capacity` in bytes, of the memory in front.
  layered_tier(std::uint64_t capacity, std::unique_ptr<block_tier> behind)
      : front_(capacity), behind_(std::move(behind)) {}

  std::string_view name() const override { return "layered"; }
  std::vector<block_hash> list() const override;
  bool contains(const block_hash& hash) const override { return front_.contains(hash) || behind_->contains(hash); }

  /// Saved is what one of them keeps, evicted what is in none of them any more.
  tier_saved save(const tier_block& block) override;

  /// What goes from memory for it and was not behind it is a miss when it is asked for.
  expected<shared_bytes> load(const block_hash& hash) override;

  void use(const block_hash& hash) override;
  void drop(const block_hash& hash) override;

  /// The two added up: a block that is in both is counted twice.
  tier_counts counts() const override;
  std::vector<tier_counts> layers() const override { return {front_.counts(), behind_->counts()}; }
  expected<void> check_integrity() const override;

private:
  memory_tier front_;
  std::unique_ptr<block_tier> behind_;
};

} // namespace troupe
