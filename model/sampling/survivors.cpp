#include "model/sampling/survivors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "model/sampling/logarithm.hpp"

namespace troupe::sampling {

namespace {

constexpr float lowest = std::numeric_limits<float>::lowest();

/// A smaller share is as good as none.
constexpr float least_share = std::numeric_limits<float>::min();

/// In how many blocks the likeliest tokens are first looked for: enough for most rows of a language model, and for
/// most of the others.
constexpr std::size_t blocks_tried[] = {64, 512};

// Floats in ascending order as integers; only -0 and 0 are two.
constexpr std::int32_t order_of(float x) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}
constexpr float from_order(std::int32_t order) {
  return std::bit_cast<float>(order < 0 ? order ^ 0x7fffffff : order);
}

/// Of so many blocks one is sampled for a guess at where a cut is.
constexpr std::size_t sampled_block = 8;

std::uint64_t share_of(std::uint64_t total, float share) {
  const auto wanted = std::ceil(static_cast<double>(total) * static_cast<double>(share));
  return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, total);
}

float mean_of(const weight_sums& sums) {
  return static_cast<float>(-static_cast<double>(sums.spread) / static_cast<double>(sums.total));
}

class truncation {
public:
  truncation(const sequence_sampling& sampling, std::span<const float> row, float largest, sampling_workspace& room)
      : sampling_(sampling), row_(row), room_(room), kept_(room.kept) {
    left_.largest = largest;
    left_.scale = exponent_scale(sampling.temperature);
  }

  survivors apply() {
    if (sampling_.min_p > 0.0f)
      keep_min_p();
    if (sampling_.top_k > 0 && (left_.as == form::kept || sampling_.top_k < row_.size()))
      keep_top_k();
    if (sampling_.top_p < 1.0f)
      keep_top_p();
    if (sampling_.typical_p < 1.0f)
      keep_typical_p();
    return left_;
  }

  survivors apply_to_kept() {
    left_.as = form::kept;
    return apply();
  }

  void keep_top_k() {
    if (left_.as == form::row)
      collect(about_reached_by(sampling_.top_k));
    if (kept_.count > sampling_.top_k)
      keep(cut_of(
        sampling_.top_k, [&](std::size_t i) { return kept_.values[i]; }, [](std::size_t) { return 1u; }));
  }

private:
  using form = survivors::form;

  weighing of_row(float from) const {
    return {row_.data(), row_.size(), room_.block_largest.data(), left_.largest, left_.scale, from};
  }

  /// Makes the row's values from some on the candidates.
  void collect(float from) {
    kept_.count = room_.kernels->collect(of_row(from), kept_.values.data(), kept_.ids.data());
    left_.as = form::kept;
  }

  /// Whether more tokens than the likeliest of so many blocks (not many have two) are surely needed: none weighs more
  /// than `one`.
  static bool needs_more_than(std::size_t blocks, std::uint64_t target) { return target / one > 2 * blocks; }

  float about_reached_by(std::size_t blocks) {
    const auto of_blocks = std::span<const float>(room_.block_largest).first(blocks_of(row_.size()));
    return about_kth_largest(of_blocks, blocks, left_.largest, room_.ranking);
  }

  weight_sums weigh_kept() {
    const weighing what{kept_.values.data(), kept_.count, nullptr, left_.largest, left_.scale, lowest};
    return room_.kernels->weights(what, kept_.weights.data());
  }

  /// Leaves the candidates that `keeps(index)` says.
  template <class Keeps>
  void keep(Keeps keeps) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < kept_.count; ++i) {
      const bool stays = keeps(i);
      kept_.values[left] = kept_.values[i];
      kept_.ids[left] = kept_.ids[i];
      left += stays;
    }
    kept_.count = left;
  }

  void keep(const cut& limit) {
    keep([&](std::size_t i) { return limit.keeps(kept_.values[i], kept_.ids[i]); });
  }

  /// Where the candidates are cut in the order of `value(index)`.
  template <class Value, class Weight>
  cut cut_of(std::uint64_t target, Value value, Weight weight) {
    auto& items = room_.ranking;
    items.resize(kept_.count);
    for (std::size_t i = 0; i < kept_.count; ++i)
      items[i] = {value(i), kept_.ids[i], weight(i)};
    return shortest_prefix(items, target);
  }

  cut cut_by_value(std::uint64_t target) {
    return cut_of(
      target, [&](std::size_t i) { return kept_.values[i]; }, [&](std::size_t i) { return kept_.weights[i]; });
  }

  cut cut_by_distance(std::uint64_t target, float mean) {
    const auto nearness = [&](std::size_t i) {
      return -std::fabs(exponent_of(kept_.values[i], left_.largest, left_.scale) - mean);
    };
    return cut_of(target, nearness, [&](std::size_t i) { return kept_.weights[i]; });
  }

  // What is kept are the values from some least one on, which is found among all floats.
  void keep_min_p() {
    const auto least_kept = least_exponent(sampling_.min_p);
    const auto passes = [&](float value) { return (value - left_.largest) * left_.scale >= least_kept; };
    std::int64_t fails = std::int64_t{order_of(lowest)} - 1, holds = order_of(left_.largest);
    while (fails + 1 < holds) {
      const auto middle = fails + (holds - fails) / 2;
      (passes(from_order(static_cast<std::int32_t>(middle))) ? holds : fails) = middle;
    }
    const auto least = from_order(static_cast<std::int32_t>(holds));
    if (left_.as == form::kept)
      keep([&](std::size_t i) { return kept_.values[i] >= least; });
    else
      collect(least);
  }

  void keep_top_p() {
    if (left_.as == form::kept) {
      const auto target = share_of(weigh_kept().total, sampling_.top_p);
      keep(cut_by_value(target));
      return;
    }
    const auto total = room_.kernels->weigh(of_row(lowest)), target = share_of(total, sampling_.top_p);
    for (const auto blocks : blocks_tried) {
      if (needs_more_than(blocks, target))
        continue;
      collect(about_reached_by(blocks));
      if (weigh_kept().total >= target) {
        keep(cut_by_value(target));
        return;
      }
    }
    const auto rest = collect_around(0.0f, total, target);
    left_.as = form::over_cut;
    left_.limit = cut_by_value(rest);
    left_.some = left_.limit.last;
  }

  /// Makes the intervals of distances from `centre`, in which the sum of weights reaches the target, the candidates,
  /// and returns what they still have to add. A part of the row says where to look; if it was wrong, all of it does.
  std::uint64_t collect_around(float centre, std::uint64_t total, std::uint64_t target) {
    histogram_sums sums{};
    room_.kernels->histogram(of_row(lowest), centre, sampled_block, sums.data());
    const auto rest = static_cast<double>(total - target) / sampled_block;
    const auto first = interval_before(sums, rest * 1.1), last = interval_before(sums, rest * 0.9);
    const auto nearer = collect_intervals(centre, first, last);
    const auto added = weigh_kept().total;
    if (nearer < target && target - nearer <= added)
      return target - nearer;
    sums.fill(0);
    room_.kernels->histogram(of_row(lowest), centre, 1, sums.data());
    std::size_t interval = 0;
    for (; interval + 1 < intervals && sums[interval] < target; ++interval)
      target -= sums[interval];
    collect_intervals(centre, interval, interval);
    weigh_kept();
    return target;
  }

  using histogram_sums = std::array<std::uint64_t, intervals>;

  /// The last interval from which on the sum is at least `rest`.
  static std::size_t interval_before(const histogram_sums& sums, double rest) {
    std::size_t interval = intervals - 1;
    for (std::uint64_t sum = sums[interval]; interval > 0 && static_cast<double>(sum) < rest; sum += sums[interval])
      --interval;
    return interval;
  }

  /// Returns the sum of nearer intervals.
  std::uint64_t collect_intervals(float centre, std::size_t first, std::size_t last) {
    std::uint64_t nearer = 0;
    kept_.count = room_.kernels->collect_intervals(of_row(lowest), centre, first, last, nearer, kept_.values.data(),
                                                   kept_.ids.data());
    return nearer;
  }

  // The information of a token is log2(Z) - t where its exponent is t and Z the sum of all 2^t, and the entropy is
  // the mean of that; so their difference is that of t and the mean of t.
  void keep_typical_p() {
    if (left_.as == form::over_cut) {
      collect(left_.limit.value);
      keep(left_.limit);
    }
    if (left_.as == form::kept) {
      const auto sums = weigh_kept();
      set_centre(mean_of(sums));
      keep_near(cut_by_distance(share_of(sums.total, sampling_.typical_p), left_.centre));
      return;
    }
    const auto sums = room_.kernels->weigh_and_spread(of_row(lowest));
    const auto target = share_of(sums.total, sampling_.typical_p);
    set_centre(mean_of(sums));
    for (const auto blocks : blocks_tried)
      if (!needs_more_than(blocks, target) && keep_near_of(about_reached_by(blocks), target))
        return;
    const auto rest = collect_around(left_.centre, sums.total, target);
    left_.as = form::near_centre;
    left_.limit = cut_by_distance(rest, left_.centre);
    left_.some = left_.limit.last;
  }

  void set_centre(float mean) { left_.centre = mean; }

  void keep_near(const cut& limit) {
    auto near = left_;
    near.as = form::near_centre;
    near.limit = limit;
    keep([&](std::size_t i) { return near.keeps(kept_.values[i], kept_.ids[i]); });
  }

  /// Leaves what is typical among the values from some on; unless they have too little weight, or something under
  /// them could be as near to the centre.
  bool keep_near_of(float from, std::uint64_t target) {
    collect(from);
    if (weigh_kept().total < target)
      return false;
    const auto limit = cut_by_distance(target, left_.centre);
    const auto edge = exponent_of(from, left_.largest, left_.scale);
    if (from > lowest && left_.centre - edge <= -limit.value)
      return false;
    keep_near(limit);
    return true;
  }

  const sequence_sampling& sampling_;
  std::span<const float> row_;
  sampling_workspace& room_;
  candidates& kept_;
  survivors left_;
};

} // namespace

float exponent_scale(float temperature) {
  const auto scale = std::numbers::log2e / static_cast<double>(temperature);
  return static_cast<float>(std::min(scale, static_cast<double>(std::numeric_limits<float>::max())));
}

float least_exponent(float min_p) {
  return static_cast<float>(logarithm(std::max(min_p, least_share)) * std::numbers::log2e);
}

float exponent_of(float value, float largest, float scale) {
  return std::max((value - largest) * scale, -126.0f);
}

bool survivors::keeps(float value, token_id id) const {
  if (as == form::over_cut)
    return limit.keeps(value, id);
  if (as == form::near_centre)
    return value >= lowest && limit.keeps(-std::fabs(exponent_of(value, largest, scale) - centre), id);
  return true;
}

survivors survivors_of(const sequence_sampling& sampling, std::span<const float> row, float largest,
                       sampling_workspace& room) {
  return truncation(sampling, row, largest, room).apply();
}

void keep_top_k(std::uint32_t k, std::span<const float> row, float largest, sampling_workspace& room) {
  sequence_sampling top_k;
  top_k.top_k = k;
  truncation(top_k, row, largest, room).keep_top_k();
}

void survivors_of_kept(const sequence_sampling& sampling, float largest, sampling_workspace& room) {
  truncation(sampling, {}, largest, room).apply_to_kept();
}

} // namespace troupe::sampling
