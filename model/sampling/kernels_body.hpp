// The kernels; included by each instruction set's translation unit, which defines TROUPE_LANES (floats in a register:
// 4, 8 or 16).
//
// Multiplications and additions are separate (-ffp-contract=off): every one is correctly rounded, so the number of
// lanes cannot be seen in a result. Nothing of the standard library is called here; kernels.hpp says why.
#include "model/sampling/kernels_vectors.hpp"

namespace troupe::sampling {

namespace {

/// How far ahead of its use a logit is asked for: rows lie in the third cache, and passes that skip blocks hide from the
/// hardware what they will want.
constexpr std::size_t prefetch_floats = 1024;

/// The block from `from` on, or a copy that is padded with -infinity.
struct block_view {
  const float* values;
  alignas(64) float padded[block_tokens];
  block_view(const float* all_values, std::size_t from, std::size_t count) : values(all_values + from) {
    __builtin_prefetch(values + prefetch_floats);
    __builtin_prefetch(values + prefetch_floats + 16);
    if (from + block_tokens <= count)
      return;
    for (std::size_t i = 0; i < block_tokens; ++i)
      padded[i] = from + i < count ? all_values[from + i] : -infinity;
    values = padded;
  }
  block_view(const block_view&) = delete;
};

/// In each lane the largest of a block, and infinity where something is not less.
inline floats block_maxima(const float* block) {
  floats largest = load(block);
  ints invalid = ~(largest < infinity);
  for (std::size_t i = 1; i < vectors_a_block; ++i) {
    const floats v = load(block + i * lanes);
    invalid |= ~(v < infinity);
    largest = larger(v, largest);
  }
  return invalid ? all(infinity) : largest;
}

/// Lane i: the largest of the lanes of v[i].
template <std::size_t Count = lanes>
inline floats largest_of_each(const floats* v) {
  if constexpr (Count == 1) {
    return *v;
  } else {
    // Two vectors that have Count / 2 lanes for each of theirs become one that has half as many.
    const floats a = largest_of_each<Count / 2>(v), b = largest_of_each<Count / 2>(v + Count / 2);
    constexpr std::size_t each = lanes * 2 / Count; // Lanes that one of them has.
    ints low, high;
    for (std::size_t i = 0; i < lanes; ++i) {
      low[i] = static_cast<std::int32_t>(i / (each / 2) * each + i % (each / 2));
      high[i] = low[i] + static_cast<std::int32_t>(each / 2);
    }
    return larger(__builtin_shuffle(a, b, low), __builtin_shuffle(a, b, high));
  }
}

float scan(const float* values, std::size_t count, float* block_largest) {
  constexpr std::size_t together = lanes * block_tokens;
  floats overall = all(-infinity), maxima[lanes];
  std::size_t from = 0;
  for (; from + together <= count; from += together) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < lanes; ++i)
      maxima[i] = block_maxima(values + from + i * block_tokens);
    const floats found = largest_of_each(maxima) + 0.0f;
    overall = larger(found, overall);
    store(found, block_largest + from / block_tokens);
  }
  if (from < count) {
    const std::size_t blocks = blocks_of(count - from);
    for (std::size_t i = 0; i < lanes; ++i)
      maxima[i] =
        i < blocks ? block_maxima(block_view(values, from + i * block_tokens, count).values) : all(-infinity);
    const floats found = largest_of_each(maxima) + 0.0f;
    overall = larger(found, overall);
    __builtin_memcpy(block_largest + from / block_tokens, &found, blocks * sizeof(float));
  }
  return largest_of(overall);
}

std::size_t find(const float* values, std::size_t count, float value) {
  for (std::size_t from = 0; from < count; from += block_tokens) {
    const block_view block(values, from, count);
    for (std::size_t i = 0; i < block_tokens; i += lanes)
      if (const auto bits = bits_of(load(block.values + i) == value)) {
        const auto index = from + i + static_cast<std::size_t>(__builtin_ctz(bits));
        return index < count ? index : count; // The padding holds -infinity too.
      }
  }
  return count;
}

std::size_t count_over(const float* values, std::size_t count, float value) {
  ints over{};
  for (std::size_t from = 0; from < count; from += block_tokens) {
    const block_view block(values, from, count);
    for (std::size_t i = 0; i < block_tokens; i += lanes)
      over -= load(block.values + i) > value;
  }
  std::size_t sum = 0;
  for (std::size_t i = 0; i < lanes; ++i)
    sum += static_cast<std::size_t>(over[i]);
  return sum;
}

/// t of the header, at least -126: what is less weighs nothing.
inline floats exponents_of(floats values, float largest, float scale) {
  return larger((values - largest) * scale, all(-126.0f));
}

/// 2^t for t from -126 to 0: 2^round(t) by the exponent's bits, times a polynomial of degree 5 on [-1/2, 1/2], fitted
/// for the least relative error (2e-7).
inline floats power_of_two(floats t) {
  constexpr float shift = 0x1.8p23f;
  const floats shifted = t + shift;
  const floats f = t - (shifted - shift);
  floats p = 0x1.5bba14p-10f * f + 0x1.3cea88p-7f;
  p = p * f + 0x1.c6b752p-5f;
  p = p * f + 0x1.ebf9bcp-3f;
  p = p * f + 0x1.62e42ap-1f;
  p = p * f + 1.0f;
  return reinterpret_cast<floats>(reinterpret_cast<bits>(p) + (reinterpret_cast<bits>(shifted) << 23));
}

/// Adding this to a float64 from 0 to 1 rounds it to a multiple of 2^-40, which the low bits then count.
constexpr double rounder = 0x1.8p12;
constexpr std::uint64_t rounder_bits = 0x40b8000000000000u;
static_assert(one == std::uint64_t{1} << 40);

inline words rounded(doubles v) {
  return reinterpret_cast<words>(v + rounder);
}

/// What is in both halves of `v`, added up as integers that have `rounder_bits` too much each.
struct sums {
  words low{}, high{};
  inline void add(floats v) {
    low += rounded(low_half(v));
    high += rounded(high_half(v));
  }
  /// After `added` calls of add().
  inline std::uint64_t total(std::uint64_t added) const { return sum_of(low + high) - added * lanes * rounder_bits; }
};

inline floats exponents_in(const weighing& what, floats v) {
  return exponents_of(v, what.largest, what.scale);
}

/// Whether nothing in a block weighs anything; where the exponent is this low, -t * 2^t is under 2^-41 too.
inline bool weighs_nothing(const weighing& what, std::size_t block) {
  return (what.block_largest[block] - what.largest) * what.scale < -47.0f;
}

std::uint64_t weigh(const weighing& what) {
  sums total;
  std::uint64_t added = 0;
  for (std::size_t from = 0; from < what.count; from += block_tokens) {
    if (weighs_nothing(what, from / block_tokens))
      continue;
    const block_view block(what.values, from, what.count);
    for (std::size_t i = 0; i < block_tokens; i += lanes, ++added) {
      const floats v = load(block.values + i);
      total.add(power_of_two(exponents_in(what, v)));
    }
  }
  return total.total(added);
}

weight_sums weigh_and_spread(const weighing& what) {
  sums total, spread;
  std::uint64_t added = 0;
  for (std::size_t from = 0; from < what.count; from += block_tokens) {
    if (weighs_nothing(what, from / block_tokens))
      continue;
    const block_view block(what.values, from, what.count);
    for (std::size_t i = 0; i < block_tokens; i += lanes, ++added) {
      const floats v = load(block.values + i), t = exponents_in(what, v), weight = power_of_two(t);
      total.add(weight);
      spread.add(weight * -t);
    }
  }
  return {total.total(added), spread.total(added)};
}

weight_sums weights(const weighing& what, std::uint64_t* out) {
  sums total, spread;
  std::uint64_t added = 0;
  for (std::size_t from = 0; from < what.count; from += block_tokens) {
    const block_view block(what.values, from, what.count);
    for (std::size_t i = 0; i < block_tokens; i += lanes, ++added) {
      const floats v = load(block.values + i), t = exponents_in(what, v), weight = power_of_two(t);
      total.add(weight);
      spread.add(weight * -t);
      store(rounded(low_half(weight)) - rounder_bits, out + from + i);
      store(rounded(high_half(weight)) - rounder_bits, out + from + i + half);
    }
  }
  return {total.total(added), spread.total(added)};
}

inline ints interval_of(floats exponents, float centre) {
  const floats t = exponents - centre;
  const floats distance = (t < 0.0f ? -t : t) * intervals_each;
  constexpr float last = intervals - 1;
  return __builtin_convertvector(distance < last ? distance : all(last), ints);
}

void histogram(const weighing& what, float centre, std::size_t step, std::uint64_t* sums) {
  for (std::size_t from = 0; from < what.count; from += block_tokens * step) {
    if (weighs_nothing(what, from / block_tokens))
      continue;
    const block_view block(what.values, from, what.count);
    for (std::size_t i = 0; i < block_tokens; i += lanes) {
      const floats v = load(block.values + i), t = exponents_in(what, v), weight = power_of_two(t);
      alignas(64) std::uint64_t weights[lanes];
      alignas(64) std::int32_t interval[lanes];
      store(rounded(low_half(weight)) - rounder_bits, weights);
      store(rounded(high_half(weight)) - rounder_bits, weights + half);
      store(interval_of(t, centre), interval);
      for (std::size_t lane = 0; lane < lanes; ++lane)
        sums[interval[lane]] += weights[lane];
    }
  }
}

void float_weights(const float* values, std::size_t count, float largest, float scale, float* out) {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    store(power_of_two(exponents_of(load(values + i), largest, scale)), out + i);
  if (i == count)
    return;
  alignas(64) float rest[lanes];
  store(all(largest), rest);
  __builtin_memcpy(rest, values + i, (count - i) * sizeof(float));
  store(power_of_two(exponents_of(load(rest), largest, scale)), rest);
  __builtin_memcpy(out + i, rest, (count - i) * sizeof(float));
}

/// Copies the tokens of a block that have a bit in `bits`.
inline std::size_t copy(const float* block, std::size_t from, std::uint32_t bits, float* values,
                        std::int32_t* indices) {
  std::size_t found = 0;
  for (; bits; bits &= bits - 1, ++found) {
    const auto i = static_cast<std::size_t>(__builtin_ctz(bits));
    values[found] = block[i] + 0.0f;
    indices[found] = static_cast<std::int32_t>(from + i);
  }
  return found;
}

std::size_t collect(const weighing& what, float* values, std::int32_t* indices) {
  std::size_t found = 0;
  for (std::size_t from = 0; from < what.count; from += block_tokens) {
    if (what.block_largest[from / block_tokens] < what.from)
      continue;
    const block_view block(what.values, from, what.count);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < block_tokens; i += lanes)
      bits |= bits_of(load(block.values + i) >= what.from) << i;
    found += copy(block.values, from, bits, values + found, indices + found);
  }
  return found;
}

std::size_t collect_intervals(const weighing& what, float centre, std::size_t first, std::size_t last,
                              std::uint64_t& nearer, float* values, std::int32_t* indices) {
  std::size_t found = 0;
  sums near;
  std::uint64_t added = 0;
  const auto least = static_cast<std::int32_t>(first), most = static_cast<std::int32_t>(last);
  for (std::size_t from = 0; from < what.count; from += block_tokens) {
    const block_view block(what.values, from, what.count);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < block_tokens; i += lanes, ++added) {
      const floats v = load(block.values + i), t = exponents_in(what, v);
      const ints interval = interval_of(t, centre);
      near.add(interval < least ? power_of_two(t) : floats{});
      bits |= bits_of((interval >= least) & (interval <= most) & (v >= what.from)) << i;
    }
    found += copy(block.values, from, bits, values + found, indices + found);
  }
  nearer += near.total(added);
  return found;
}

/// SplitMix64's finaliser (noise.hpp).
inline words mixed(words x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The uniform draw u of a block is (the highest 52 bits + 1/2) / 2^52, and its largest noise -log(-log(u) / 32) is over
// g only if u > exp(-32 exp(-g)) >= 1 - 32 exp(-g). The comparison allows for what rounding may do to it.
std::size_t search(const noise_search& where, std::size_t from, double lift) {
  for (std::size_t i = from / half * half; i < where.count; i += half) {
    words x;
    __builtin_memcpy(&x, where.mixed + i, sizeof x);
    const auto draws = reinterpret_cast<doubles>((mixed(x ^ where.key) >> 12) | 0x3ff0000000000000u); // 1 + u
    std::uint32_t bits = bits_from(draws + low_half(load(where.weights + i)) * (block_tokens * lift), 2 - 0x1p-50);
    if (i < from)
      bits &= ~0u << (from - i);
    if (bits) {
      const auto index = i + static_cast<std::size_t>(__builtin_ctz(bits));
      return index < where.count ? index : where.count;
    }
  }
  return where.count;
}

constexpr kernel_table table(const char* name) {
  return {name,          scan,    find,      count_over,        weigh, weigh_and_spread, weights,
          float_weights, collect, histogram, collect_intervals, search};
}

} // namespace

} // namespace troupe::sampling
