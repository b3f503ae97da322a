// The first tokens of an order, until their weights have some sum, without sorting them all.
//
// The order: larger values first, the lower id first of equals.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "model/sampling/workspace.hpp"

namespace troupe::sampling {

/// Keeps what is over `value`, and of what is equal to it the ids up to `last`.
struct cut {
  float value = 0;
  token_id last = 0;
  bool keeps(float v, token_id id) const { return v > value || (v == value && id <= last); }
  bool operator==(const cut&) const = default;
};

/// What keeps the shortest beginning of the order whose weights add up to `target`.
/// items: finite, in ascending order of ids; their weights add up to at least `target`, which is at least 1. They are
/// lost. Time: linear, but for values of extremely different magnitudes (then by a factor of at most some 30).
cut shortest_prefix(std::vector<ranked>& items, std::uint64_t target);

/// The k-th largest of `values`, -infinity apart; the lowest float where there are fewer than k.
float kth_largest(std::span<const float> values, std::size_t k, std::vector<ranked>& room);

/// About that: what at least k of the values reach, and mostly few more.
float about_kth_largest(std::span<const float> values, std::size_t k, float largest, std::vector<ranked>& room);

} // namespace troupe::sampling
