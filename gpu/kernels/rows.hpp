// Kernels that work row by row: one block a row.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/portable.hpp"
#include "gpu/portable/sums.hpp"

namespace troupe::gpu {

/// Whole warps for so many pieces of work, up to `most`.
constexpr unsigned threads_for(std::uint32_t pieces, unsigned most) {
  const auto wanted = (pieces + warp_size - 1) / warp_size * warp_size;
  return wanted < most ? wanted : most;
}

/// hidden += added (where there is one); normed = hidden / sqrt(mean(hidden^2) + epsilon) * weight.
/// A block a row; width a multiple of 4, up to `largest_width`.
struct add_rms_norm {
  static constexpr const char* name = "add_rms_norm";
  static constexpr unsigned max_threads = 256;
  static constexpr std::size_t shared_bytes = block_sum_bytes;
  static constexpr unsigned most_parts = 8; ///< Of four numbers, a thread.
  static constexpr std::uint32_t largest_width = max_threads * most_parts * 4;
  struct arguments {
    global<float> hidden;       ///< [rows, width]
    global<const float> added;  ///< [rows, width], or null.
    global<const float> weight; ///< [width]
    global<bf16> normed;        ///< [rows, width]
    std::uint32_t width;
    float epsilon;
  };

  /// As many threads as have something to do; a row's bits depend on the width, and not on the rows.
  static constexpr grid_shape grid(std::uint32_t rows, std::uint32_t width) {
    return {{rows}, threads_for(width / 4, max_threads), shared_bytes};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto row = static_cast<std::size_t>(block_index().x) * a.width;
    floats4 own[most_parts];
    float squares = 0;
    TROUPE_UNROLL
    for (unsigned part = 0; part < most_parts; ++part) {
      const auto i = (part * thread_count() + thread_index()) * 4;
      if (i >= a.width)
        break;
      own[part] = a.hidden.template load_as<floats4>(row + i);
      if (a.added.exists()) {
        const auto more = a.added.template load_as<floats4>(row + i);
        for (unsigned j = 0; j < 4; ++j)
          own[part].at[j] += more.at[j];
        a.hidden.store_as(row + i, own[part]);
      }
      for (unsigned j = 0; j < 4; ++j)
        squares += own[part].at[j] * own[part].at[j];
    }
    store_normed(a, row, own, squares, memory);
  }

  /// The second half: of a row whose numbers the threads have, and each the sum of its own squares.
  template <class Arguments>
  static TROUPE_GPU void store_normed(const Arguments& a, std::size_t row, const floats4 (&own)[most_parts],
                                      float squares, shared_memory& memory) {
    const float scale = reciprocal_root(block_sum(squares, memory) / static_cast<float>(a.width) + a.epsilon);
    TROUPE_UNROLL
    for (unsigned part = 0; part < most_parts; ++part) {
      const auto i = (part * thread_count() + thread_index()) * 4;
      if (i >= a.width)
        break;
      const auto weight = a.weight.template load_as<floats4>(i);
      words2 out;
      for (unsigned j = 0; j < 2; ++j)
        out.at[j] = pack(to_bf16(own[part].at[2 * j] * scale * weight.at[2 * j]),
                         to_bf16(own[part].at[2 * j + 1] * scale * weight.at[2 * j + 1]));
      a.normed.store_as(row + i, out);
    }
  }
};

/// hidden += added, four numbers a thread: the residual where no norm follows.
struct add_rows {
  static constexpr const char* name = "add_rows";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    global<float> hidden;      ///< [count]
    global<const float> added; ///< [count]
    std::uint32_t count;       ///< A multiple of 4.
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto i = (static_cast<std::size_t>(block_index().x) * thread_count() + thread_index()) * 4;
    if (i >= a.count)
      return;
    auto sum = a.hidden.template load_as<floats4>(i);
    const auto more = a.added.template load_as<floats4>(i);
    for (unsigned j = 0; j < 4; ++j)
      sum.at[j] += more.at[j];
    a.hidden.store_as(i, sum);
  }
};

/// y = bias, or y += bias, in each row: for products that add to what is there. A block a row.
struct add_bias {
  static constexpr const char* name = "add_bias";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    global<const float> bias; ///< [outputs]
    global<float> y;          ///< [blocks, stride]
    std::uint32_t outputs, stride;
    std::uint32_t accumulates; ///< 1: y += bias; 0: y = bias
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto row = static_cast<std::size_t>(block_index().x) * a.stride;
    for (auto n = thread_index(); n < a.outputs; n += thread_count())
      a.y.store(row + n, a.bias.load(n) + (a.accumulates != 0 ? a.y.load(row + n) : 0.0f));
  }
};

/// out = gate / (1 + exp(-gate)) * up, four numbers a thread.
struct swiglu {
  static constexpr const char* name = "swiglu";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    global<const float> gate, up; ///< [count]
    global<bf16> out;             ///< [count]
    std::uint32_t count;          ///< A multiple of 4.
  };

  static constexpr grid_shape grid(std::uint32_t count) {
    return {{(count / 4 + max_threads - 1) / max_threads}, max_threads, 0};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto i = (static_cast<std::size_t>(block_index().x) * thread_count() + thread_index()) * 4;
    if (i >= a.count)
      return;
    const auto gate = a.gate.template load_as<floats4>(i), up = a.up.template load_as<floats4>(i);
    float result[4];
    for (unsigned j = 0; j < 4; ++j)
      result[j] = gate.at[j] / (1.0f + exponential(-gate.at[j])) * up.at[j];
    a.out.store_as(
      i, words2{{pack(to_bf16(result[0]), to_bf16(result[1])), pack(to_bf16(result[2]), to_bf16(result[3]))}});
  }
};

/// out[i] = in[rows[i]]: the rows whose logits are wanted. A block a row.
struct take_rows {
  static constexpr const char* name = "take_rows";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    global<const float> in;           ///< [.., width]
    global<const std::uint32_t> rows; ///< [blocks]
    global<float> out;                ///< [blocks, width]
    std::uint32_t width;              ///< A multiple of 4.
  };

  static constexpr grid_shape grid(std::uint32_t rows, std::uint32_t width) {
    return {{rows}, threads_for(width / 4, max_threads), 0};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto from = static_cast<std::size_t>(a.rows.load(block_index().x)) * a.width;
    const auto to = static_cast<std::size_t>(block_index().x) * a.width;
    for (auto i = thread_index() * 4; i < a.width; i += thread_count() * 4)
      a.out.store_as(to + i, a.in.template load_as<floats4>(from + i));
  }
};

} // namespace troupe::gpu
