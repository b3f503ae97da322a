#include "engine/block_pool.hpp"

#include <algorithm>
#include <string>

namespace troupe {

block_pool::block_pool(std::uint32_t blocks) : places_(blocks, place::free), free_(blocks) {
  for (std::uint32_t i = 0; i < blocks; ++i)
    free_[i] = i;
}

std::vector<block_id> block_pool::lease(std::uint32_t count) {
  const auto available = free_.size() - free_begin_;
  const auto taken = std::min<std::size_t>(count, available);
  const auto first = free_.begin() + static_cast<std::ptrdiff_t>(free_begin_);
  std::vector<block_id> result(first, first + static_cast<std::ptrdiff_t>(taken));
  free_begin_ += taken;
  if (free_begin_ >= places_.size()) { // Compacting once a pool's worth of leases costs O(1) a block.
    free_.erase(free_.begin(), free_.begin() + static_cast<std::ptrdiff_t>(free_begin_));
    free_begin_ = 0;
  }
  for (auto block : result)
    places_[block] = place::leased;
  leased_ += static_cast<std::uint32_t>(taken);
  return result;
}

expected<void> block_pool::assign(sequence_id sequence, std::span<const block_id> blocks) {
  for (auto block : blocks)
    if (block >= places_.size() || places_[block] != place::leased)
      return fail(errc::internal, "Block " + std::to_string(block) + " was assigned to sequence " +
                                    std::to_string(sequence) + " without a lease; this is a bug of the scheduler.");
  if (blocks.empty())
    return {};
  auto& table = tables_[sequence];
  for (auto block : blocks)
    places_[block] = place::owned;
  table.insert(table.end(), blocks.begin(), blocks.end());
  leased_ -= static_cast<std::uint32_t>(blocks.size());
  return {};
}

void block_pool::release(sequence_id sequence) {
  auto found = tables_.find(sequence);
  if (found == tables_.end())
    return;
  for (auto block = found->second.rbegin(); block != found->second.rend(); ++block) {
    places_[*block] = place::free;
    free_.push_back(*block);
  }
  tables_.erase(found);
}

block_counts block_pool::counts() const {
  block_counts result;
  result.total = static_cast<std::uint32_t>(places_.size());
  result.free = static_cast<std::uint32_t>(free_.size() - free_begin_);
  result.leased = leased_;
  result.owned = result.total - result.free - result.leased;
  return result;
}

expected<void> block_pool::check_integrity() const {
  auto broken = [](block_id block, const char* what) {
    return fail(errc::internal, "Block " + std::to_string(block) + " " + what + ".");
  };
  std::vector<std::uint8_t> seen(places_.size(), 0);
  for (auto i = free_begin_; i < free_.size(); ++i) {
    if (places_[free_[i]] != place::free)
      return broken(free_[i], "is in the free list but not marked free");
    if (seen[free_[i]]++)
      return broken(free_[i], "is in the free list twice");
  }
  for (const auto& [sequence, table] : tables_)
    for (auto block : table) {
      if (places_[block] != place::owned)
        return broken(block, "is in a table but not marked owned");
      if (seen[block]++)
        return broken(block, "is in two tables, or in one and free");
    }
  std::uint32_t leased = 0;
  for (block_id block = 0; block < places_.size(); ++block) {
    if (places_[block] == place::leased)
      ++leased;
    else if (!seen[block])
      return broken(block, "is marked as had by somebody, but nobody has it");
  }
  if (leased != leased_)
    return fail(errc::internal, "The count of leased blocks is wrong.");
  return {};
}

expected<kv_grant> apply_report(block_pool& pool, const kv_report& report) {
  for (auto sequence : report.released)
    pool.release(sequence);
  for (const auto& entry : report.assigned)
    if (auto done = pool.assign(entry.sequence, entry.blocks); !done)
      return tl::unexpected(done.error());
  kv_grant grant;
  const auto leased = pool.counts().leased;
  if (leased < report.purse_target) {
    const auto wanted = report.purse_target - leased;
    grant.blocks = pool.lease(wanted);
    grant.short_of_blocks = grant.blocks.size() < wanted;
  }
  return grant;
}

} // namespace troupe
