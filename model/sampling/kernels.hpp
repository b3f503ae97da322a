// The passes over a whole vocabulary that sampling makes, once for each instruction set, with the same results bit
// for bit.
//
// A row of logits is looked at in blocks of 32: `scan` notes each block's largest, and later passes skip blocks that
// cannot matter. Weights are probabilities before they are divided by their sum:
//   weight = 2^t, t = (logit - largest) * scale, scale = log2(e) / temperature,
// in float32 by one polynomial, then rounded to a multiple of 2^-40 and kept as an integer. Sums of integers are
// exact, so no order of summing, number of lanes or skipping of zeros can change them. A weight under 2^-41 is 0:
// what all such tokens together lose is less than a millionth of the likeliest token's probability in a vocabulary of
// 2^20.
//
// Threads: kernels are functions of their arguments. As in cpu/kernels.hpp, each instruction set has a translation
// unit of its own, in which nothing is an inline function with external linkage.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::sampling {

inline constexpr std::size_t block_tokens = 32;

/// Weights are multiples of 1 / one; the likeliest token's is `one`.
inline constexpr std::uint64_t one = std::uint64_t{1} << 40;

/// Distances of exponents t are told apart by intervals of 1/16; the last interval has all that are farther.
inline constexpr std::size_t intervals = 1024;
inline constexpr float intervals_each = 16;

constexpr std::size_t blocks_of(std::size_t tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

struct weighing {
  const float* values = nullptr;
  std::size_t count = 0;
  const float* block_largest = nullptr; ///< What `scan` wrote; `weights` does without.
  float largest = 0;
  float scale = 0; ///< Over 0, finite.
  float from = 0;  ///< Smaller values are not collected; they weigh what they weigh.
};

struct weight_sums {
  std::uint64_t total = 0;  ///< Of the weights.
  std::uint64_t spread = 0; ///< Of weight * -t, each a float32 product rounded to a multiple of 2^-40.
};

/// Looks for what the noise of its block could lift over the best so far; see noise.hpp.
struct noise_search {
  const std::uint64_t* mixed =
    nullptr;                      ///< mix_block() of the block of each thing; `search_padding` more are readable.
  const float* weights = nullptr; ///< Of each, likewise: 2^t, of blocks that of their largest.
  std::size_t count = 0;
  std::uint64_t key = 0;
};
inline constexpr std::size_t search_padding = 32;

struct kernel_table {
  const char* name;
  /// Writes blocks_of(count) maxima, and returns the largest; +infinity where something is that or NaN, -infinity
  /// where all are. -0 counts as 0, and is written as 0.
  float (*scan)(const float* values, std::size_t count, float* block_largest);
  /// The first index that holds `value` (0 finds -0 too); `count` if there is none.
  std::size_t (*find)(const float* values, std::size_t count, float value);
  std::size_t (*count_over)(const float* values, std::size_t count, float value);
  std::uint64_t (*weigh)(const weighing& what); ///< The total of the weights.
  weight_sums (*weigh_and_spread)(const weighing& what);
  /// The same, and writes the weight of each value. `out` has room for blocks_of(count) * block_tokens.
  weight_sums (*weights)(const weighing& what, std::uint64_t* out);
  /// 2^t of each of `count` values in float32, not rounded, at least 2^-126.
  void (*float_weights)(const float* values, std::size_t count, float largest, float scale, float* out);
  /// Copies what is at least `from`, and its indices, in ascending order. Returns how many. Both targets have room
  /// for blocks_of(count) * block_tokens.
  std::size_t (*collect)(const weighing& what, float* values, std::int32_t* indices);
  /// Adds each weight to the sum of the interval in which the distance |t - centre| is; of every `step`-th block
  /// alone. `sums`: [intervals], of zeros.
  void (*histogram)(const weighing& what, float centre, std::size_t step, std::uint64_t* sums);
  /// Like `collect`, of the values in the intervals from `first` to `last`. Adds the weights of nearer ones to
  /// `nearer`.
  std::size_t (*collect_intervals)(const weighing& what, float centre, std::size_t first, std::size_t last,
                                   std::uint64_t& nearer, float* values, std::int32_t* indices);
  /// From index `from` on, the first whose block's largest noise may be over -log(weight * lift). Never misses one;
  /// `count` if there are none.
  std::size_t (*search)(const noise_search& where, std::size_t from, double lift);
};

/// In ascending order.
enum class vectors { portable, avx2, avx512 };

/// The best that this CPU has.
vectors best_vectors();

/// `which` is at most best_vectors().
const kernel_table& kernels_for(vectors which);

extern const kernel_table portable_kernels;
#if defined(__x86_64__)
extern const kernel_table avx2_kernels;
extern const kernel_table avx512_kernels;
#endif

} // namespace troupe::sampling
