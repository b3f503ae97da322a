// What sampling needs beside its inputs: room for one row, made once.
//
// Owner: whoever samples, one for each thread that does; it holds nothing between two calls that matters. About 40
// bytes for each token of the vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/sampling/kernels.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// Over this the sums of weights could overflow 64 bits, and models have a tenth of it.
inline constexpr std::uint32_t max_sampled_vocabulary = 1u << 22;

namespace sampling {

/// Some tokens of a row, in ascending order of their ids.
struct candidates {
  std::vector<float> values; ///< Never -0 or infinite.
  std::vector<token_id> ids;
  std::vector<std::uint64_t> weights; ///< Of kernels.hpp; where they were asked for.
  std::size_t count = 0;              ///< Of the vectors, so much is used.
};

struct ranked {
  float value = 0;
  token_id id = 0;
  std::uint64_t weight = 0;
};

} // namespace sampling

struct sampling_workspace {
  /// `vocabulary` is 1 to max_sampled_vocabulary. `vectors` only for tests and benchmarks: all give the same bits.
  explicit sampling_workspace(std::uint32_t vocabulary, sampling::vectors vectors = sampling::best_vectors());

  /// The first index in `values` of the largest of them; `block_largest` is that of `values`.
  std::size_t find_largest(std::span<const float> values, float largest) const;

  const sampling::kernel_table* kernels;
  std::vector<float> row;           ///< The logits, processed.
  std::vector<float> block_largest; ///< By blocks of the row or of the candidates.
  std::vector<float> block_weights;
  std::vector<std::uint64_t> mixed_blocks; ///< mix_block(block), of the vocabulary.
  sampling::candidates kept;
  std::vector<float> kept_weights;
  std::vector<std::uint64_t> kept_mixed; ///< mix_block() of each candidate's block.
  std::vector<sampling::ranked> ranking;
};

} // namespace troupe
