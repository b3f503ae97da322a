#include "engine/kv/tier.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

bool kv_tier_state::insert(const block_hash& hash) {
  if (hashes_.size() >= options_.max_hashes)
    return hashes_.contains(hash);
  hashes_.insert(hash);
  return true;
}

void kv_tier_state::offer(block_id block) {
  if (!offers_.contains(block))
    offers_.push_back(block);
}

void kv_tier_state::give_up(block_id block) {
  if (!offers_.contains(block))
    return;
  offers_.erase(block);
  ++statistics.saves_given_up;
}

void kv_tier_state::give_up_all() {
  statistics.saves_given_up += offers_.size();
  offers_.clear();
}

block_id kv_tier_state::take_offer() {
  return saving_.size() < options_.max_saving ? offers_.pop_front() : no_block;
}

void kv_tier_state::begin_save(block_id block, const block_hash& hash, std::uint32_t epoch) {
  saving_.emplace(block, save_state{hash, epoch});
}

std::optional<kv_tier_state::save_state> kv_tier_state::end_save(block_id block) {
  const auto found = saving_.find(block);
  if (found == saving_.end())
    return std::nullopt;
  const auto result = found->second;
  saving_.erase(found);
  return result;
}

std::uint32_t kv_tier_state::loads_left() const {
  const auto running = static_cast<std::uint32_t>(loads_.size());
  return options_.max_loading > running ? options_.max_loading - running : 0;
}

block_id kv_tier_state::loading(const block_hash& hash) const {
  const auto found = blocks_loading_.find(hash);
  return found == blocks_loading_.end() ? no_block : found->second;
}

kv_tier_state::load_state& kv_tier_state::begin_load(block_id block, load_state load) {
  blocks_loading_[load.name] = block;
  return loads_.insert_or_assign(block, std::move(load)).first->second;
}

kv_tier_state::load_state* kv_tier_state::find_load(block_id block) {
  const auto found = loads_.find(block);
  return found == loads_.end() ? nullptr : &found->second;
}

std::optional<kv_tier_state::load_state> kv_tier_state::end_load(block_id block) {
  const auto found = loads_.find(block);
  if (found == loads_.end())
    return std::nullopt;
  auto result = std::move(found->second);
  loads_.erase(found);
  // After a reset another load of the same name may run, into another block.
  if (const auto named = blocks_loading_.find(result.name); named != blocks_loading_.end() && named->second == block)
    blocks_loading_.erase(named);
  return result;
}

void kv_tier_state::forget_waiter(std::uint32_t account) {
  for (auto& [block, load] : loads_)
    std::erase_if(load.waiters, [&](const waiter& who) { return who.account == account; });
}

void kv_tier_state::forget_all_waiters() {
  for (auto& [block, load] : loads_)
    load.waiters.clear();
}

} // namespace troupe
