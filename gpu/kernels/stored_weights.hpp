// Weights as numbers: rows of a matrix for products that want brain floats, and the rows of tokens.
#pragma once

#include "gpu/kernels/weight_formats.hpp"

namespace troupe::gpu {

/// A chunk whose first group is the one that is wanted. It is chosen word by word, since registers have no index.
template <class Format>
TROUPE_GPU weight_chunk brought_to_front(const weight_chunk& chunk, unsigned wanted) {
  constexpr unsigned groups = Format::columns / 8, words = 4 / groups; // Of a group.
  auto out = chunk;
  TROUPE_UNROLL
  for (unsigned group = 1; group < groups; ++group) {
    TROUPE_UNROLL
    for (unsigned i = 0; i < words; ++i)
      out.words.at[i] = wanted == group ? chunk.words.at[group * words + i] : out.words.at[i];
  }
  if constexpr (Format::runs == 2) { // q6_k: two groups share a scale, and a word of upper bits.
    out.scale[0] = wanted < 2 ? chunk.scale[0] : chunk.scale[1];
    out.more.at[0] = (wanted < 2 ? chunk.more.at[0] : chunk.more.at[1]) >> (wanted % 2 * 16);
  }
  return out;
}

/// Eight weights of a row: columns 8 group and on, as the file has them.
template <class Format>
TROUPE_GPU eight_floats weights_of(const device_matrix& m, std::size_t row, std::uint32_t group) {
  constexpr unsigned groups = Format::columns / 8;
  const auto chunk = brought_to_front<Format>(Format::load(m, row, group / groups), group % groups);
  auto out = Format::unpack(chunk, 0);
  TROUPE_UNROLL
  for (auto& each : out.at) {
    each *= chunk.scale[0];
    if constexpr (Format::has_minimum)
      each += chunk.minimum;
  }
  return out;
}

struct dequantise_arguments {
  device_matrix matrix; ///< [outputs, inputs]
  global<bf16> out;     ///< [rows, inputs], aligned to 16 bytes.
  std::uint32_t first_row, rows;
};

/// out = some rows of a matrix as brain floats, for products of many rows at once. Eight weights a thread.
template <class Format>
struct dequantise {
  static constexpr format_name own_name{"dequantise", Format::format};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 256;
  using arguments = dequantise_arguments;

  static constexpr grid_shape grid(std::uint32_t rows, std::uint32_t inputs) {
    const auto groups = std::size_t{rows} * (inputs / 8);
    return {{static_cast<unsigned>((groups + max_threads - 1) / max_threads)}, max_threads, 0};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto groups = a.matrix.layout.inputs / 8;
    const auto i = static_cast<std::size_t>(block_index().x) * thread_count() + thread_index();
    if (i >= static_cast<std::size_t>(a.rows) * groups)
      return;
    const auto weights =
      weights_of<Format>(a.matrix, a.first_row + i / groups, static_cast<std::uint32_t>(i % groups));
    a.out.store_as(i * 8, pack(weights));
  }
};

struct embed_arguments {
  device_matrix matrix;               ///< [tokens that this rank has, width]
  global<const std::uint32_t> tokens; ///< [rows]; one under -1 stands for one of `chosen` (awaited_token, engine/step.hpp).
  global<const std::int32_t> chosen;  ///< In the step before.
  global<float> hidden;               ///< [rows, width]
  std::uint32_t first_token;          ///< Of the matrix.
};

/// hidden[r] = the matrix's row of token r, or zeros where this rank does not have it. A block a row.
template <class Format>
struct embed {
  static constexpr format_name own_name{"embed", Format::format};
  static constexpr const char* name = own_name.text;
  static constexpr unsigned max_threads = 128;
  using arguments = embed_arguments;

  static constexpr grid_shape grid(std::uint32_t rows) { return {{rows}, max_threads, 0}; }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto row = static_cast<std::size_t>(block_index().x);
    auto token = a.tokens.load(row);
    if (static_cast<std::int32_t>(token) < -1)
      token = static_cast<std::uint32_t>(a.chosen.load(0xfffffffeu - token));
    const auto own = token - a.first_token; // Of a token before the first one: more than there are.
    const bool is_there = own < a.matrix.layout.outputs;
    const auto width = a.matrix.layout.inputs;
    for (auto group = thread_index(); group < width / 8; group += thread_count()) {
      const auto weights = is_there ? weights_of<Format>(a.matrix, own, group) : eight_floats{};
      const auto to = row * width + group * 8;
      a.hidden.store_as(to, floats4{{weights.at[0], weights.at[1], weights.at[2], weights.at[3]}});
      a.hidden.store_as(to + 4, floats4{{weights.at[4], weights.at[5], weights.at[6], weights.at[7]}});
    }
  }
};

} // namespace troupe::gpu
