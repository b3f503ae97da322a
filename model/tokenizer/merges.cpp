#include "model/tokenizer/merges.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

namespace troupe {
// At most two thirds full, so that a look-up that fails ends soon.
merge_table::merge_table(std::size_t count)
    : slots_(std::bit_ceil(count + count / 2 + 2)), shift_(64 - std::countr_zero(slots_.size())) {}

void merge_table::add(token_id left, token_id right, merge what) {
  auto key = key_of(left, right);
  auto index = first_slot(key);
  while (slots_[index].key != empty && slots_[index].key != key)
    index = (index + 1) & (slots_.size() - 1);
  if (slots_[index].key == empty)
    slots_[index] = {key, what};
}

// Looking for the lowest rank among a few in a row is faster than keeping a heap of them.
std::size_t merger::merge_short(std::span<token_id> symbols) const {
  std::array<merge_table::merge, short_word> pairs; // pairs[i] is of symbols i and i + 1.
  auto count = symbols.size();
  for (std::size_t i = 0; i + 1 < count; ++i)
    pairs[i] = merges_->find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (pairs[i].rank < pairs[best].rank)
        best = i;
    if (pairs[best].rank == merge_table::no_rank)
      break;
    symbols[best] = pairs[best].result;
    --count;
    std::copy(symbols.begin() + best + 2, symbols.begin() + count + 1, symbols.begin() + best + 1);
    if (best + 1 < count) {
      std::copy(pairs.begin() + best + 2, pairs.begin() + count, pairs.begin() + best + 1);
      pairs[best] = merges_->find(symbols[best], symbols[best + 1]);
    }
    if (best > 0)
      pairs[best - 1] = merges_->find(symbols[best - 1], symbols[best]);
  }
  return count;
}

void merger::start(std::span<const token_id> symbols) {
  auto count = static_cast<std::uint32_t>(symbols.size());
  symbols_.clear();
  queue_.clear();
  symbols_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    auto next = i + 1 < count ? i + 1 : none;
    auto rank = next == none ? merge_table::no_rank : merges_->find(symbols[i], symbols[next]).rank;
    symbols_.push_back({symbols[i], i == 0 ? none : i - 1, next, rank});
    if (rank != merge_table::no_rank)
      queue_.push_back(std::uint64_t{rank} << 32 | i);
  }
  std::make_heap(queue_.begin(), queue_.end(), std::greater<>());
}

// Queues the pair that begins at `left`, if it merges.
void merger::offer(std::uint32_t left) {
  auto& symbol = symbols_[left];
  symbol.rank = symbol.next == none ? merge_table::no_rank : merges_->find(symbol.id, symbols_[symbol.next].id).rank;
  if (symbol.rank == merge_table::no_rank)
    return;
  queue_.push_back(std::uint64_t{symbol.rank} << 32 | left);
  std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
}

std::size_t merger::advance(std::size_t steps) {
  std::size_t step = 0;
  for (; step < steps && !queue_.empty(); ++step) {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
    auto rank = static_cast<std::uint32_t>(queue_.back() >> 32);
    auto left = static_cast<std::uint32_t>(queue_.back());
    queue_.pop_back();
    auto& symbol = symbols_[left];
    if (symbol.rank != rank) // One of the two has merged with another since.
      continue;
    auto& right = symbols_[symbol.next];
    symbol.id = merges_->find(symbol.id, right.id).result;
    right.rank = merge_table::no_rank;
    symbol.next = right.next;
    if (symbol.next != none)
      symbols_[symbol.next].previous = left;
    offer(left);
    if (symbol.previous != none)
      offer(symbol.previous);
  }
  return step;
}

void merger::take(std::vector<token_id>& out) {
  for (std::uint32_t i = symbols_.empty() ? none : 0; i != none; i = symbols_[i].next)
    if (symbols_[i].id != no_token)
      out.push_back(symbols_[i].id);
  // A word of megabytes must not keep its memory for as long as its text is being encoded.
  std::vector<symbol>().swap(symbols_);
  std::vector<std::uint64_t>().swap(queue_);
}

} // namespace troupe
