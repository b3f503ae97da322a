// A doubly linked list of blocks, its links in one array: every operation is O(1) and allocates nothing. A block is
// in it at most once.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv/messages.hpp"

namespace troupe {

class block_list {
public:
  /// Empty, for blocks under `blocks`.
  explicit block_list(std::uint32_t blocks) : links_(std::size_t{blocks} + 1), end_(blocks) { clear(); }

  void clear() {
    for (auto& link : links_)
      link = {no_block, no_block};
    links_[end_] = {end_, end_};
    size_ = 0;
  }

  std::uint32_t size() const { return size_; }
  bool contains(block_id block) const { return links_[block].next != no_block; }

  /// Precondition: not in the list.
  void push_back(block_id block) {
    const auto last = links_[end_].previous;
    links_[block] = {last, end_};
    links_[last].next = block;
    links_[end_].previous = block;
    ++size_;
  }

  /// Precondition: in the list.
  void erase(block_id block) {
    const auto link = links_[block];
    links_[link.previous].next = link.next;
    links_[link.next].previous = link.previous;
    links_[block] = {no_block, no_block};
    --size_;
  }

  /// `no_block` if empty.
  block_id front() const { return links_[end_].next == end_ ? no_block : links_[end_].next; }

  /// The next one; `no_block` after the last. Precondition: in the list.
  block_id after(block_id block) const { return links_[block].next == end_ ? no_block : links_[block].next; }

  block_id pop_front() {
    const auto block = front();
    if (block != no_block)
      erase(block);
    return block;
  }

  /// The blocks from the front, at most as many as there can be: broken links are found by their number.
  std::vector<block_id> all() const {
    std::vector<block_id> result;
    for (auto block = links_[end_].next; block != end_ && result.size() <= links_.size(); block = links_[block].next)
      result.push_back(block);
    return result;
  }

private:
  struct link {
    block_id previous, next;
  };
  std::vector<link> links_; ///< The last one is the list's own: its ends.
  block_id end_;
  std::uint32_t size_ = 0;
};

} // namespace troupe
