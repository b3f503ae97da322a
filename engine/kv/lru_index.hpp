// Things of known sizes in the order in which they were used last. One may be put under another, as the block of a
// chain under the one before it: it goes before that does, whenever either was put.
//
// Owner: one tier, or one directory of prefixes; one thread. Every operation but `remove_if` takes constant time.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

#include "protocol/error.hpp"

namespace troupe {

template <class Key, class Value, class Hasher = std::hash<Key>>
class lru_index {
public:
  struct entry {
    Key key;
    std::uint64_t bytes;
    Value value;
  };

  /// The most recently used from now on, or the next before `above`, if that is there. Replaces what had this key.
  void put(const Key& key, std::uint64_t bytes, Value value, const Key* above = nullptr) {
    remove(key);
    places_.emplace(key, order_.insert(place_under(above), {key, bytes, std::move(value)}));
    bytes_ += bytes;
  }

  /// As for `put`; null where there is none.
  entry* use(const Key& key, const Key* above = nullptr) {
    auto found = places_.find(key);
    if (found == places_.end())
      return nullptr;
    if (const auto place = place_under(above); place != found->second)
      order_.splice(place, order_, found->second);
    return &*found->second;
  }

  /// Null where there is none.
  const entry* find(const Key& key) const {
    auto found = places_.find(key);
    return found == places_.end() ? nullptr : &*found->second;
  }
  entry* find(const Key& key) { return const_cast<entry*>(std::as_const(*this).find(key)); }

  bool contains(const Key& key) const { return places_.contains(key); }

  bool remove(const Key& key) {
    auto found = places_.find(key);
    if (found == places_.end())
      return false;
    bytes_ -= found->second->bytes;
    order_.erase(found->second);
    places_.erase(found);
    return true;
  }

  /// All that `gone(entry)` says so of; it may change values. Linear in the entries.
  template <class Gone>
  void remove_if(Gone gone) {
    for (auto at = order_.begin(); at != order_.end();) {
      const auto next = std::next(at);
      if (gone(*at)) {
        bytes_ -= at->bytes;
        places_.erase(at->key);
        order_.erase(at);
      }
      at = next;
    }
  }

  void clear() {
    order_.clear();
    places_.clear();
    bytes_ = 0;
  }

  /// The least recently used; there must be one.
  const entry& oldest() const { return order_.front(); }

  const std::list<entry>& entries() const { return order_; } ///< The least recently used first.
  std::uint64_t bytes() const { return bytes_; }
  std::size_t size() const { return order_.size(); }
  bool empty() const { return order_.empty(); }

  expected<void> check_integrity() const {
    std::uint64_t bytes = 0;
    std::size_t count = 0;
    for (auto at = order_.begin(); at != order_.end(); ++at, ++count) {
      bytes += at->bytes;
      if (auto found = places_.find(at->key); found == places_.end() || found->second != at)
        return fail(errc::internal, "A tier's entry is not where its index says.");
    }
    if (count != places_.size())
      return fail(errc::internal, "A tier's index has " + std::to_string(places_.size()) + " entries for " +
                                    std::to_string(count) + " blocks.");
    if (bytes != bytes_)
      return fail(errc::internal,
                  "A tier has " + std::to_string(bytes) + " bytes and counts " + std::to_string(bytes_) + ".");
    return {};
  }

private:
  using iterator = typename std::list<entry>::iterator;

  /// Before which to insert.
  iterator place_under(const Key* above) {
    if (above)
      if (auto found = places_.find(*above); found != places_.end())
        return found->second;
    return order_.end();
  }

  std::list<entry> order_;
  std::unordered_map<Key, iterator, Hasher> places_;
  std::uint64_t bytes_ = 0;
};

} // namespace troupe
