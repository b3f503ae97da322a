// How threads divide the units of a step among them: each has a share of its own, which it begins with, and then helps
// some neighbours with theirs.
//
// A thread that comes back to the same share in each pass reads on where the hardware's prefetcher expects it. Weights are
// packed in the same shares, so that a large matrix lies near the thread that touched it first. Helping keeps a step from waiting
// for a thread whose CPU does something else. Who takes a unit changes no result.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

namespace troupe::cpu {

/// The part [begin, end) of `count` units that is the share of `thread` of `threads`.
struct share {
  std::uint32_t begin = 0, end = 0;
  std::uint32_t size() const { return end - begin; }
};
constexpr share share_of(std::uint32_t count, unsigned thread, unsigned threads) {
  return {static_cast<std::uint32_t>(std::uint64_t{count} * thread / threads),
          static_cast<std::uint32_t>(std::uint64_t{count} * (thread + 1) / threads)};
}

class work_shares {
public:
  explicit work_shares(unsigned threads) : taken_(threads) {}

  /// Some units of one share, counted from its begin.
  struct piece {
    unsigned owner;
    std::uint32_t first, end;
  };

  /// Up to `grain` units that nobody has taken yet, for `thread`; none when its own share and those of the next few
  /// threads are taken. size_of(owner) is how many units an owner's share has.
  template <class SizeOf>
  std::optional<piece> take(unsigned thread, std::uint32_t grain, SizeOf size_of) {
    const auto threads = static_cast<unsigned>(taken_.size());
    for (unsigned i = 0; i < std::min(threads, most_owners); ++i) {
      const unsigned owner = (thread + i) % threads;
      const std::uint32_t size = size_of(owner);
      auto& taken = taken_[owner].units;
      if (taken.load(std::memory_order_relaxed) >= size)
        continue;
      const std::uint32_t first = taken.fetch_add(grain, std::memory_order_relaxed);
      if (first < size)
        return piece{owner, first, std::min(size, first + grain)};
    }
    return {};
  }

  /// Makes a share whole again. Its owner calls this when no thread takes any more.
  void reset(unsigned owner) { taken_[owner].units.store(0, std::memory_order_relaxed); }

private:
  static constexpr unsigned most_owners =
    8; ///< Whose shares a thread looks at: with many threads, looking costs too.
  struct alignas(64) counter {
    std::atomic<std::uint32_t> units{0};
  };
  std::vector<counter> taken_;
};

} // namespace troupe::cpu
