// The kernels; included by each instruction set's translation unit, which defines TROUPE_LANES (floats in a register:
// 4, 8 or 16).
//
// Multiplications and additions are separate (-ffp-contract=off): every one is correctly rounded, so the number of
// lanes cannot be seen in a result. Nothing of the standard library is called here; kernels.hpp says why.
#include "model/sampling/kernels_vectors.hpp"

namespace troupe::sampling {

namespace {

/// The block from `from` on, or a copy that is padded with -infinity.
struct block_view {
  const float* values;
  alignas(64) float padded[block_tokens];
  block_view(const float* all_values, std::size_t from, std::size_t count) : values(all_values + from) {
    if (from + block_tokens <= count)
      return;
    for (std::size_t i = 0; i < block_tokens; ++i)
      padded[i] = from + i < count ? all_values[from + i] : -infinity;
    values = padded;
  }
  block_view(const block_view&) = delete;
};

scan_result scan(const float* values, std::size_t count, float* block_largest) {
  floats overall = all(-infinity);
  ints invalid{};
  for (std::size_t from = 0; from < count; from += block_tokens) {
    const block_view block(values, from, count);
    floats largest = load(block.values);
    invalid |= ~(largest < infinity);
    for (std::size_t i = 1; i < vectors_a_block; ++i) {
      const floats v = load(block.values + i * lanes);
      invalid |= ~(v < infinity);
      largest = larger(v, largest);
    }
    overall = larger(largest, overall);
    block_largest[from / block_tokens] = largest_of(largest) + 0.0f;
  }
  return {largest_of(overall) + 0.0f, bits_of(invalid) != 0};
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

/// SplitMix64's finaliser (noise.hpp), but for its last step, which leaves the highest 31 bits as they are.
inline words almost_mixed(words x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return (x ^ (x >> 27)) * 0x94d049bb133111ebu;
}

/// The tokens of a block whose mixed bits are at least `least`.
inline std::uint32_t tokens_from(const std::uint64_t* mixed, std::uint64_t key, std::uint64_t least) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < block_tokens; i += half) {
    words x;
    __builtin_memcpy(&x, mixed + i, sizeof x);
    bits |= bits_from(almost_mixed(x ^ key), least) << i;
  }
  return bits;
}

// The uniform draw u of a token is (the highest 52 bits + 1/2) / 2^52, and its noise -log(-log(u)) is over g only if
// u > exp(-exp(-g)) >= 1 - exp(-g). That is compared in the highest 31 bits, rounded down.
std::size_t search(const noise_search& where, std::size_t block, double lift, std::uint32_t& tokens) {
  const auto blocks = blocks_of(where.count);
  for (; block < blocks; ++block) {
    const double allowed = where.block_weights[block] * lift;
    if (allowed < 0x1p-53)
      continue;
    std::uint32_t bits = 0xffffffffu;
    if (allowed < 0.5) {
      const auto top = static_cast<std::int64_t>((1.0 - allowed) * 0x1p31) - 1;
      bits = tokens_from(where.mixed + block * block_tokens, where.key, static_cast<std::uint64_t>(top) << 33);
    }
    if (const auto left = where.count - block * block_tokens; left < block_tokens)
      bits &= (1u << left) - 1;
    if (bits) {
      tokens = bits;
      return block;
    }
  }
  return blocks;
}

constexpr kernel_table table(const char* name) {
  return {name,          scan,    find,      count_over,        weigh, weigh_and_spread, weights,
          float_weights, collect, histogram, collect_intervals, search};
}

} // namespace

} // namespace troupe::sampling
