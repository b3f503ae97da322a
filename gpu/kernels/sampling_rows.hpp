// What the sampling kernels know of each row of a step, as it lies in device memory.
//
// A row is one token that is to be sampled (or judged): its logits are a row of the step's logits, its parameters five parts of 16
// bytes, which kernels load apart. What is of different length in each row lies in arrays of the step, of which a row has a beginning
// and a count. gpu/kernels/sampling_launch.hpp fills it from what the CPU's sampler takes, and launches the kernels in their order.
//
//   sampling_row   rows     [rows]
//   logit_edit     edits    [..]               bias and banned tokens, sorted by token in each row
//   seen_token     history  [..]               each different token of a sequence once (model/sampling/history.hpp)
//   uint32         masks    [.., blocks]       bit i of word w: token 32 w + i; allowed tokens and the grammar's together
//   float          logits   [.., stride]       stride: a multiple of 4, at least the vocabulary
//   float          block_largest [rows, blocks]
//   uint32         largest  [rows]             `ascending_key` of the largest logit; 0 before anything was looked at
//   wide           bins     [rows, weight_bins]
//
// blocks: of 32 tokens, as in model/sampling/kernels.hpp. Masks are looked at as logits are read, and logits are not overwritten by
// them; edits are written into the logits, and taken back where logprobs are wanted, which are of the model's own logits.
#pragma once

#include "gpu/portable/exact.hpp"

namespace troupe::gpu {

/// What CUDA's atomics take for 64 bits.
using wide = unsigned long long;

inline constexpr unsigned tokens_a_block = 32;
inline constexpr unsigned weight_bins = 1024;
inline constexpr unsigned most_top_logprobs = 20;
inline constexpr std::uint32_t no_mask = 0xffffffffu;

struct alignas(16) row_source {
  std::uint32_t logits;  ///< Which row of the logits. A row with edits has it for itself.
  std::uint32_t mask;    ///< Which of the masks, or no_mask.
  std::int32_t logprobs; ///< So many of the likeliest tokens are wanted, up to most_top_logprobs; -1: no logprobs.
  std::int32_t given;    ///< The token that is judged and not sampled; -1: sampled.
};
struct alignas(16) row_edits {
  std::uint32_t first_edit, edits;
  std::uint32_t first_seen, seen;
};
struct alignas(16) row_penalties {
  float repetition, presence, frequency;
  std::uint32_t weighed; ///< Whether the weights of the whole row are wanted: top-p without min-p and top-k.
};
struct alignas(16) row_noise {
  std::uint64_t key;          ///< noise_key() of model/sampling/noise.hpp.
  double inverse_temperature; ///< 0: greedy.
};
struct alignas(16) row_cuts {
  float scale;          ///< exponent_scale() of model/sampling/survivors.hpp.
  float least_exponent; ///< Of min-p: that of the least weight that is kept; over 0: off.
  float top_p, typical_p;
};
struct alignas(16) row_top_k {
  std::uint32_t top_k; ///< 0: off.
  std::uint32_t unused[3];
};

/// The parts, as they are where nothing is asked for.
struct sampling_row {
  row_source source{0, no_mask, -1, -1};
  row_edits edits{0, 0, 0, 0};
  row_penalties penalties{1, 0, 0, 0};
  row_noise noise{0, 0};
  row_cuts cuts{0, 1, 1, 1};
  row_top_k top_k{0, {}};
};
static_assert(sizeof(sampling_row) == 96);

/// Added to a token's logit; -infinity bans it.
struct logit_edit {
  std::uint32_t token = 0;
  float added = 0;
};

struct seen_token {
  std::uint32_t token = 0, in_prompt = 0, in_answer = 0;
};

enum class sampling_status : std::uint32_t {
  sampled = 0,
  damaged = 1,   ///< A logit is NaN or +infinity.
  none_left = 2, ///< Masks and edits leave no token.
};

/// The rows, as the kernels read them.
struct sampling_rows {
  global<const words4> parts; ///< [rows, 6]

  template <class Part>
  TROUPE_GPU Part load(unsigned row, unsigned part) const {
    return bits_as<Part>(parts.load(row * std::size_t{6} + part));
  }
  TROUPE_GPU row_source source(unsigned row) const { return load<row_source>(row, 0); }
  TROUPE_GPU row_edits edits(unsigned row) const { return load<row_edits>(row, 1); }
  TROUPE_GPU row_penalties penalties(unsigned row) const { return load<row_penalties>(row, 2); }
  TROUPE_GPU row_noise noise(unsigned row) const { return load<row_noise>(row, 3); }
  TROUPE_GPU row_cuts cuts(unsigned row) const { return load<row_cuts>(row, 4); }
  TROUPE_GPU std::uint32_t top_k(unsigned row) const { return load<row_top_k>(row, 5).top_k; }
};

/// Whether a row's logits are not those that its token is sampled from.
TROUPE_GPU bool is_changed(const row_source& source, const row_edits& edits) {
  return source.mask != no_mask || edits.edits > 0 || edits.seen > 0;
}

} // namespace troupe::gpu
