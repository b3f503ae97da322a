// Random numbers that are the same on every machine: plain arithmetic, no library distribution.
#pragma once

#include <cstdint>
#include <span>

namespace troupe::simulated {

class dice {
public:
  explicit dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) {}

  std::uint64_t next() { // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// 0 to count - 1; 0 for a count of 0.
  std::uint32_t below(std::uint64_t count) { return count == 0 ? 0 : static_cast<std::uint32_t>((next() >> 11) % count); }

  /// From `low` to `high`, both included.
  std::uint32_t between(std::uint32_t low, std::uint32_t high) { return low + below(std::uint64_t{high} - low + 1); }

  bool chance(std::uint32_t percent) { return below(100) < percent; }

  /// With this chance `value` becomes a number between the two; otherwise it stays.
  void perhaps(std::uint32_t percent, std::uint32_t& value, std::uint32_t low, std::uint32_t high) {
    if (chance(percent))
      value = between(low, high);
  }

  template <class T>
  const T& pick(std::span<const T> values) {
    return values[below(values.size())];
  }

  /// Another source, so that what draws from it does not disturb what draws from this one.
  dice split() { return dice(next()); }

private:
  std::uint64_t state_;
};

} // namespace troupe::simulated
