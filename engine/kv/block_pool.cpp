#include "engine/kv/block_pool.hpp"

namespace troupe {

kv_block_pool::kv_block_pool(std::uint32_t blocks) : records_(blocks), blank_(blocks), lru_(blocks) {
  for (block_id block = 0; block < blocks; ++block)
    blank_.push_back(block);
}

kv_block_pool::taken kv_block_pool::lease() {
  taken result;
  result.block = blank_.pop_front();
  if (result.block == no_block) {
    result.block = lru_.front();
    while (result.block != no_block && records_[result.block].held)
      result.block = lru_.after(result.block);
    if (result.block == no_block)
      return result;
    lru_.erase(result.block);
    result.evicted = true;
    records_[result.block].named = false;
  }
  records_[result.block].place = place_type::leased;
  ++leased_;
  return result;
}

void kv_block_pool::take_back(block_id block) {
  --leased_;
  records_[block].place = place_type::blank;
  blank_.push_back(block);
}

void kv_block_pool::spend(block_id block) {
  --leased_;
  records_[block].place = place_type::owned;
  records_[block].references = 1;
}

void kv_block_pool::add_reference(block_id block) {
  auto& record = records_[block];
  if (record.place == place_type::cached) {
    record.place = place_type::owned;
    lru_.erase(block);
    held_in_lru_ -= record.held;
  }
  ++record.references;
}

void kv_block_pool::drop_reference(block_id block) {
  if (--records_[block].references == 0)
    settle(block);
}

void kv_block_pool::settle(block_id block) {
  auto& record = records_[block];
  if (record.named) {
    record.place = place_type::cached;
    lru_.push_back(block);
    held_in_lru_ += record.held;
  } else if (!record.held) {
    record.place = place_type::blank;
    blank_.push_back(block);
  } // else it stays owned, by the transfer alone
}

void kv_block_pool::name(block_id block, const block_hash& hash) {
  records_[block].named = true;
  records_[block].hash = hash;
}

void kv_block_pool::forget_names() {
  for (auto& record : records_) {
    record.named = false;
    if (record.place == place_type::cached)
      record.place = place_type::owned; // by a transfer, or by nobody until it is settled
  }
  held_in_lru_ = 0;
  for (auto block = lru_.pop_front(); block != no_block; block = lru_.pop_front())
    settle(block);
}

void kv_block_pool::hold(block_id block) {
  records_[block].held = true;
  held_in_lru_ += lru_.contains(block);
}

void kv_block_pool::end_hold(block_id block) {
  auto& record = records_[block];
  record.held = false;
  if (record.place == place_type::cached)
    --held_in_lru_;
  else if (record.references == 0)
    settle(block);
}

void kv_block_pool::reset() {
  blank_.clear();
  lru_.clear();
  held_in_lru_ = leased_ = 0;
  for (block_id block = 0; block < size(); ++block) {
    auto& record = records_[block];
    record.references = 0;
    record.named = false;
    record.place = record.held ? place_type::owned : place_type::blank;
    if (!record.held)
      blank_.push_back(block);
  }
}

kv_block_counts kv_block_pool::counts() const {
  kv_block_counts result;
  result.total = size();
  result.free = blank_.size();
  result.cached = lru_.size();
  result.leased = leased_;
  result.owned = result.total - result.free - result.cached - result.leased;
  return result;
}

expected<void> kv_block_pool::check_integrity(std::span<const std::uint32_t> references) const {
  auto broken = [](block_id block, const char* what) {
    return fail(errc::internal, "Block " + std::to_string(block) + " " + what + ".");
  };
  kv_block_counts found;
  std::uint32_t held = 0;
  for (block_id block = 0; block < size(); ++block) {
    const auto& record = records_[block];
    if (record.references != references[block])
      return broken(block, "has another number of references than there are tables with it");
    if (blank_.contains(block) != (record.place == place_type::blank))
      return broken(block, "is blank and not in the list of those, or the reverse");
    if (lru_.contains(block) != (record.place == place_type::cached))
      return broken(block, "is cached and not in the list of those, or the reverse");
    held += lru_.contains(block) && record.held;
    if (record.references > 0 && record.place != place_type::owned)
      return broken(block, "is in a table but not marked owned");
    if (record.references == 0 && record.named != (record.place == place_type::cached))
      return broken(block, "is nobody's and has a name without being cached, or the reverse");
    if (record.references == 0 && record.place == place_type::owned && !record.held)
      return broken(block, "is marked owned, but nobody has it");
    found.free += record.place == place_type::blank;
    found.cached += record.place == place_type::cached;
    found.leased += record.place == place_type::leased;
    found.owned += record.place == place_type::owned;
  }
  found.total = size();
  if (found != counts() || held != held_in_lru_)
    return fail(errc::internal, "The counts of blocks are wrong.");
  if (blank_.all().size() != blank_.size() || lru_.all().size() != lru_.size())
    return fail(errc::internal, "A list of blocks is broken.");
  return {};
}

} // namespace troupe
