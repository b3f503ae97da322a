// What all groups do alike to add up logical shards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace troupe {

/// Tells groups apart whose ranks have other shards (FNV-1a).
constexpr std::uint64_t hash_of_shards(std::span<const unsigned> shards) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const auto count : shards)
    hash = (hash ^ count) * 0x100000001b3u;
  return hash;
}

/// memcpy, also of nothing from nowhere.
inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0)
    std::memcpy(to, from, bytes);
}

/// Up to so many floats every rank adds up all: meeting again costs more.
inline constexpr std::size_t small_sum = 4096;

/// sum = parts[0] + parts[1] + ..., added in this order. Only the first part may be `sum` itself.
inline void add_in_order(std::span<const float* const> parts, std::span<float> sum) {
  if (parts[0] != sum.data())
    copy_bytes(sum.data(), parts[0], sum.size_bytes());
  for (const float* part : parts.subspan(1))
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += part[i];
}

/// The floats of a large sum that one rank adds up.
struct sum_part {
  std::size_t begin, end;
  std::size_t size() const { return end - begin; }
};
constexpr sum_part sum_part_of(std::size_t count, unsigned rank, unsigned ranks) {
  const auto begin_of = [&](unsigned r) { return r == ranks ? count : count * r / ranks / 16 * 16; };
  return {begin_of(rank), begin_of(rank + 1)};
}

} // namespace troupe
