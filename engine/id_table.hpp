// A table from 64-bit ids to small values: open addressing in one array, so that a look-up in a step costs no walk
// through nodes, and adding and removing cost no allocation once it has grown.
//
// Linear probing with backward shifts; at most half full. Ids may be anything, the clients' too: whoever chooses them
// so that they collide makes his own connection slow, within the limit on open requests.
//
// Owner: one actor each. `Value` is default-constructible and movable.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace troupe {

template <class Value>
class id_table {
public:
  /// Valid until the next insertion or removal.
  Value* find(std::uint64_t id) {
    if (entries_.empty())
      return nullptr;
    auto& found = entries_[place_of(id)];
    return found.used ? &found.value : nullptr;
  }
  const Value* find(std::uint64_t id) const { return const_cast<id_table*>(this)->find(id); }

  /// False, and nothing has changed, if the id is there already.
  bool insert(std::uint64_t id, Value value) {
    if (2 * (size_ + 1) > entries_.size())
      grow();
    auto& place = entries_[place_of(id)];
    if (place.used)
      return false;
    place = {id, std::move(value), true};
    ++size_;
    return true;
  }

  bool erase(std::uint64_t id) {
    if (entries_.empty())
      return false;
    auto hole = place_of(id);
    if (!entries_[hole].used)
      return false;
    // Whoever follows and would be found by way of the hole moves into it.
    for (auto next = after(hole); entries_[next].used; next = after(next)) {
      const auto home = home_of(entries_[next].id);
      if (((next - home) & mask()) < ((next - hole) & mask()))
        continue;
      entries_[hole] = std::move(entries_[next]);
      hole = next;
    }
    entries_[hole] = {};
    --size_;
    return true;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// Calls `visit(id, value)` for each, in no order; it must not add or remove.
  template <class Visit>
  void for_each(Visit visit) {
    for (auto& e : entries_)
      if (e.used)
        visit(e.id, e.value);
  }

private:
  struct entry {
    std::uint64_t id = 0;
    Value value{};
    bool used = false;
  };

  std::size_t mask() const { return entries_.size() - 1; }
  std::size_t after(std::size_t place) const { return (place + 1) & mask(); }
  /// Fibonacci hashing: ids that follow each other lie apart.
  std::size_t home_of(std::uint64_t id) const { return (id * 0x9E3779B97F4A7C15u) >> shift_; }

  std::size_t place_of(std::uint64_t id) const {
    auto place = home_of(id);
    while (entries_[place].used && entries_[place].id != id)
      place = after(place);
    return place;
  }

  void grow() {
    auto old = std::move(entries_);
    entries_ = std::vector<entry>(old.empty() ? 16 : 2 * old.size());
    shift_ = 64 - std::countr_zero(entries_.size());
    for (auto& e : old)
      if (e.used)
        entries_[place_of(e.id)] = std::move(e);
  }

  std::vector<entry> entries_;
  std::size_t size_ = 0;
  int shift_ = 0;
};

} // namespace troupe
