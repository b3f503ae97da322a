// Where a row's tokens are cut, found without a sort: by one thread block for each row.
//
// An order of tokens (by logit, or by how near a token's exponent is to a centre) is cut where the sum of a measure (how many there
// are, or what they weigh) reaches a target. The sums of 1,024 intervals tell in which one that is; this is parted again, until it
// has one token, or all of what it has is wanted. Sums are of integers, so the cut is where the CPU has it. What is looked at are
// blocks of 32 tokens whose largest logit is not under what is already cut off: mostly few.
#pragma once

#include "gpu/kernels/sampling_scan.hpp"

namespace troupe::gpu {

inline constexpr unsigned search_threads = 512;
inline constexpr std::uint32_t any_token = 0xffffffffu;

/// A row's logits, as they are looked at.
struct row_view {
  global<const float> logits;       ///< The row's.
  global<const std::uint32_t> mask; ///< Likewise; null: all tokens.
  global<const float> block_largest;
  std::uint32_t vocabulary, blocks;
  float largest, scale;

  /// -infinity of what is masked or not there; never -0.
  TROUPE_GPU float load(std::uint32_t token) const {
    if (token >= vocabulary ||
        (mask.exists() && (mask.load(token / tokens_a_block) >> (token % tokens_a_block) & 1u) == 0))
      return -infinity;
    return rounded::add(logits.load(token), 0.0f);
  }
  TROUPE_GPU float largest_of(std::uint32_t block) const {
    return block < blocks ? block_largest.load(block) : -infinity;
  }
  TROUPE_GPU float exponent(float logit) const { return exponent_of(logit, largest, scale); }
};

/// Which tokens are left: what is over `least`, and of what is equal to it the tokens up to `last`; of these, likewise, what is nearer
/// to the centre than `farthest`.
struct kept_tokens {
  float least = lowest_float;
  std::uint32_t last = any_token;
  float centre = 0, farthest = infinity;
  std::uint32_t last_farthest = any_token;

  TROUPE_GPU bool keeps(float logit, float exponent, std::uint32_t token) const {
    if (!(logit > least || (logit == least && token <= last)))
      return false;
    const float away = distance(exponent);
    return away < farthest || (away == farthest && token <= last_farthest);
  }
  TROUPE_GPU float distance(float exponent) const {
    const float t = rounded::subtract(exponent, centre);
    return t < 0.0f ? -t : t;
  }
};

/// Calls act(logit, exponent, token) for each token that is kept, each in one thread of the block.
template <class Act>
TROUPE_GPU void for_each_kept(const row_view& row, const kept_tokens& kept, Act act) {
  for (auto from = warp() * 32; from < row.blocks; from += thread_count())
    for (auto left = ballot(row.largest_of(from + lane()) >= kept.least); left != 0; left &= left - 1) {
      const auto token = (from + lowest_bit(left)) * tokens_a_block + lane();
      const float logit = row.load(token), exponent = row.exponent(logit);
      if (kept.keeps(logit, exponent, token))
        act(logit, exponent, token);
    }
}

struct search_room {
  shared<wide> bins, of_warps, found;

  static constexpr std::size_t bytes = (weight_bins + search_threads / 32 + 4) * sizeof(wide);
  static TROUPE_GPU search_room of(shared_memory& memory) {
    search_room room;
    room.bins = memory.array<wide>(weight_bins);
    room.of_warps = memory.array<wide>(search_threads / 32);
    room.found = memory.array<wide>(4);
    return room;
  }
  TROUPE_GPU void clear() const {
    for (auto i = thread_index(); i < weight_bins; i += search_threads)
      bins.store(i, 0);
    sync_block();
  }
};

/// How far a cut is to reach: to a number, or to a share of all.
struct cut_target {
  wide number = 0;
  float share = 0; ///< Where `number` is 0.

  TROUPE_GPU wide of(wide total) const {
    if (number > 0)
      return number;
    // At least 1 of at least 1.
    const double wanted = rounded::multiply(static_cast<double>(total), static_cast<double>(share));
    auto whole = static_cast<wide>(wanted);
    whole += static_cast<double>(whole) < wanted ? 1 : 0;
    return whole < 1 ? 1 : whole > total ? total : whole;
  }
};

/// The bin in which the sum from the first bin on reaches a target.
struct reached_bin {
  bool is_reached = false;
  std::uint32_t bin = 0;
  wide rest = 0; ///< Of the target, that the bin has to bring.
  wide sum = 0;  ///< Of the bin.
};

/// All threads call it, after what they have added to the bins.
TROUPE_GPU reached_bin find_bin(const search_room& room, const cut_target& target) {
  static_assert(weight_bins == 2 * search_threads);
  sync_block();
  const auto mine = thread_index() * 2;
  const auto first = room.bins.load(mine), second = room.bins.load(mine + 1);
  auto upto = first + second;
  for (unsigned apart = 1; apart < 32; apart *= 2) {
    const auto before = shuffle(upto, lane() - apart);
    upto += lane() >= apart ? before : 0;
  }
  if (lane() == 31)
    room.of_warps.store(warp(), upto);
  sync_block();
  wide total = 0;
  for (unsigned i = 0; i < search_threads / 32; ++i) {
    const auto sum = room.of_warps.load(i);
    total += sum;
    upto += i < warp() ? sum : 0;
  }
  const auto wanted = target.of(total), before = upto - first - second;
  if (before < wanted && wanted <= upto) {
    const bool is_second = before + first < wanted;
    room.found.store(0, mine + (is_second ? 1 : 0));
    room.found.store(1, wanted - before - (is_second ? first : 0));
    room.found.store(2, is_second ? second : first);
  }
  sync_block();
  reached_bin out;
  out.is_reached = wanted <= total && total > 0;
  if (out.is_reached) {
    out.bin = static_cast<std::uint32_t>(room.found.load(0));
    out.rest = room.found.load(1);
    out.sum = room.found.load(2);
  }
  return out;
}

/// Logits in descending order as integers.
TROUPE_GPU std::uint32_t descending_key(float logit) {
  return ~ascending_key(logit);
}
TROUPE_GPU float from_descending_key(std::uint32_t key) {
  return rounded::add(from_ascending_key(~key), 0.0f);
}

/// The first key, from the largest logit's on, that does not pass; `passes` holds up to some logit and for none after it.
template <class Passes>
TROUPE_GPU std::uint32_t first_failing(float largest, Passes passes) {
  auto holds = descending_key(largest), fails = descending_key(lowest_float) + 1;
  while (holds + 1 < fails) {
    const auto middle = holds + (fails - holds) / 2;
    if (passes(from_descending_key(middle)))
      holds = middle;
    else
      fails = middle;
  }
  return fails;
}

/// The first key whose logit is in a later interval than this one.
TROUPE_GPU std::uint32_t end_of_interval(const row_view& row, std::uint32_t interval) {
  return first_failing(row.largest, [&](float logit) { return interval_of(row.exponent(logit), 0.0f) <= interval; });
}

/// What at least `count` tokens reach, and mostly not many more, judged by the blocks' largest.
TROUPE_GPU float about_largest(const row_view& row, const kept_tokens& kept, std::uint32_t count,
                               const search_room& room) {
  room.clear();
  for (auto block = thread_index(); block < row.blocks; block += search_threads)
    if (const float most = row.largest_of(block); most >= kept.least)
      atomic_add(room.bins, interval_of(row.exponent(most), 0.0f), wide{1});
  const auto found = find_bin(room, {count});
  if (!found.is_reached)
    return kept.least;
  const float edge = from_descending_key(end_of_interval(row, found.bin) - 1);
  return edge > kept.least ? edge : kept.least;
}

/// What is cut, and by which measure.
struct cut_search {
  bool by_distance = false; ///< To the centre; else by logit.
  bool counts = false;      ///< Else weighs.
  cut_target target;
};

/// Leaves the shortest beginning of the order that reaches the target; all, where all do not. `has_bins`: the bins have the weights of
/// what is kept by their intervals under the largest.
TROUPE_GPU void cut(const row_view& row, kept_tokens& kept, const cut_search& how, const search_room& room,
                    bool has_bins = false) {
  const auto measure = [&](float exponent) { return how.counts ? wide{1} : units_of(power_of_two(exponent)); };
  const auto add = [&](std::uint32_t bin, wide by) {
    if (by > 0)
      atomic_add(room.bins, bin, by);
  };
  const float centre = how.by_distance ? kept.centre : 0.0f;
  if (!has_bins) {
    room.clear();
    for_each_kept(row, kept, [&](float, float exponent, std::uint32_t) {
      add(interval_of(exponent, centre), measure(exponent));
    });
  }
  auto found = find_bin(room, how.target);
  if (!found.is_reached)
    return;
  // The keys that the interval may have.
  std::uint32_t first, last;
  if (how.by_distance) {
    const auto edge = static_cast<float>(found.bin);
    first = bits_as<std::uint32_t>(edge / 16.0f);
    last = bits_as<std::uint32_t>(found.bin + 1 < weight_bins ? (edge + 1.0f) / 16.0f : 256.0f) - 1;
  } else {
    first = found.bin == 0 ? descending_key(row.largest) : end_of_interval(row, found.bin - 1);
    last = end_of_interval(row, found.bin) - 1;
  }
  std::uint32_t key = 0; // Of all that are looked at, once tokens are parted by their numbers.
  bool by_token = false;
  for (;;) {
    // All are wanted if not even the last one may be left out, which has at least the least weight.
    const float edge = from_descending_key(by_token ? key : last);
    const wide least = how.counts ? 1 : how.by_distance ? 0 : units_of(power_of_two(row.exponent(edge)));
    if (found.sum - found.rest < least)
      break;
    if (first == last) {
      if (by_token)
        break;
      by_token = true;
      key = first;
      first = 0;
      last = row.vocabulary - 1;
      if (first == last)
        break;
    }
    unsigned shift = 0;
    while ((last - first) >> shift >= weight_bins)
      ++shift;
    room.clear();
    auto looked_at = kept;
    if (!how.by_distance && edge > kept.least) {
      looked_at.least = edge;
      looked_at.last = any_token;
    }
    for_each_kept(row, looked_at, [&](float logit, float exponent, std::uint32_t token) {
      const auto own =
        how.by_distance ? bits_as<std::uint32_t>(kept.distance(exponent)) & 0x7fffffffu : descending_key(logit);
      if (by_token && own != key)
        return;
      const auto place = by_token ? token : own;
      if (place >= first && place <= last)
        add((place - first) >> shift, measure(exponent));
    });
    found = find_bin(room, {found.rest});
    first += found.bin << shift;
    const auto end = first + ((1u << shift) - 1);
    last = end < last ? end : last;
  }
  const auto limit = by_token ? key : last, last_token = by_token ? last : any_token;
  if (how.by_distance) {
    kept.farthest = bits_as<float>(limit);
    kept.last_farthest = last_token;
    return;
  }
  // The end of an interval may lie under what was cut off before.
  const float least = from_descending_key(limit);
  if (least > kept.least || (least == kept.least && last_token < kept.last)) {
    kept.least = least;
    kept.last = last_token;
  }
}

} // namespace troupe::gpu
