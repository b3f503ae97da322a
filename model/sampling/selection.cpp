#include "model/sampling/selection.hpp"

#include <algorithm>
#include <array>

namespace troupe::sampling {

namespace {

constexpr std::size_t buckets = 256, few = 16;

bool before(const ranked& a, const ranked& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

/// `items` are in the order.
cut walk(const std::vector<ranked>& items, std::uint64_t target) {
  std::uint64_t sum = 0;
  for (const auto& item : items)
    if ((sum += item.weight) >= target)
      return {item.value, item.id};
  return {items.back().value, items.back().id};
}

/// Equal parts of what is between the smallest and the largest; they are in different parts.
struct equal_parts {
  double smallest, scale;
  equal_parts(float low, float high)
      : smallest(low), scale(static_cast<double>(buckets) / (static_cast<double>(high) - static_cast<double>(low))) {}
  std::size_t of(float value) const {
    const auto index = static_cast<std::int32_t>((static_cast<double>(value) - smallest) * scale);
    return static_cast<std::size_t>(std::min(index, static_cast<std::int32_t>(buckets) - 1));
  }
};

} // namespace

cut shortest_prefix(std::vector<ranked>& items, std::uint64_t target) {
  std::array<std::uint64_t, buckets> sums;
  while (items.size() > few) {
    float low = items.front().value, high = low;
    for (const auto& item : items) {
      low = std::min(low, item.value);
      high = std::max(high, item.value);
    }
    if (low == high) // In ascending order of ids, then.
      return walk(items, target);
    const equal_parts part(low, high);
    sums.fill(0);
    for (const auto& item : items)
      sums[part.of(item.value)] += item.weight;
    auto bucket = buckets - 1;
    for (; bucket > 0 && sums[bucket] < target; --bucket)
      target -= sums[bucket];
    std::size_t left = 0;
    for (const auto& item : items) {
      items[left] = item;
      left += part.of(item.value) == bucket;
    }
    items.resize(left);
  }
  std::sort(items.begin(), items.end(), before);
  return walk(items, target);
}

float about_kth_largest(std::span<const float> values, std::size_t k, float largest, std::vector<ranked>& room) {
  // By intervals of 1/16 under the largest; what is over 16 under it is all one.
  constexpr float each = 16;
  std::array<std::uint32_t, buckets> counts{};
  for (const auto value : values) {
    const auto distance = std::min((largest - value) * each, static_cast<float>(buckets - 1));
    ++counts[static_cast<std::size_t>(static_cast<std::int32_t>(distance))];
  }
  std::size_t bucket = 0, reach = counts[0];
  while (reach < k && bucket + 1 < buckets)
    reach += counts[++bucket];
  if (bucket + 1 == buckets || reach > 2 * k + 64)
    return kth_largest(values, k, room);
  // (largest - value) * each < bucket + 1 holds for all that were counted, and rounding is allowed for.
  const auto edge = largest - (static_cast<float>(bucket) + 1.01f) / each;
  return edge;
}

float kth_largest(std::span<const float> values, std::size_t k, std::vector<ranked>& room) {
  constexpr auto lowest = std::numeric_limits<float>::lowest();
  room.clear();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] >= lowest)
      room.push_back({values[i], static_cast<token_id>(i), 1});
  return room.size() < k ? lowest : shortest_prefix(room, k).value;
}

} // namespace troupe::sampling
