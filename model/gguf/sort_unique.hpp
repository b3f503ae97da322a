// Sorting of an index and finding what is there twice, in place: it adds nothing to what a hostile header can cost.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace troupe::gguf {

/// Fills `index` with 0 to `count` - 1, ordered by what `key_of` gives, and finds two that are the same.
template <class KeyOf>
std::optional<std::pair<std::uint32_t, std::uint32_t>> sort_unique(std::vector<std::uint32_t>& index, std::size_t count,
                                                                    KeyOf key_of) {
  index.resize(count);
  for (std::size_t i = 0; i < count; ++i)
    index[i] = static_cast<std::uint32_t>(i);
  std::sort(index.begin(), index.end(), [&](auto a, auto b) { return key_of(a) < key_of(b); });
  const auto twice = std::adjacent_find(index.begin(), index.end(), [&](auto a, auto b) { return key_of(a) == key_of(b); });
  if (twice == index.end())
    return std::nullopt;
  return std::minmax(twice[0], twice[1]);
}

} // namespace troupe::gguf
