// The sum over ranks of what each has brought, in the order of the ranks, where it is added to the residual: one launch does what an
// all-reduce, the residual and the norm would do in three, and the sum itself is never written. The bits are those of the host's
// communicator (comm/communicator.hpp), which adds in the same order.
#pragma once

#include "gpu/kernels/rows.hpp"

namespace troupe::gpu {

/// hidden += parts[0] + parts[1] + ..., and then as `add_rms_norm`, whose limits it has. A block a row.
struct add_parts_rms_norm {
  static constexpr const char* name = "add_parts_rms_norm";
  static constexpr std::size_t shared_bytes = add_rms_norm::shared_bytes;
  static constexpr unsigned max_threads = add_rms_norm::max_threads;
  static constexpr unsigned most_parts = add_rms_norm::most_parts; ///< Of a row, a thread.
  struct arguments {
    global<float> hidden;       ///< [rows, width]
    global<const float> parts;  ///< [ranks, rows, width]
    global<const float> weight; ///< [width]
    global<bf16> normed;        ///< [rows, width]
    std::uint32_t rows, width;
    std::uint32_t ranks; ///< At least 1.
    float epsilon;
  };

  static constexpr grid_shape grid(std::uint32_t rows, std::uint32_t width) {
    return add_rms_norm::grid(rows, width);
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto row = static_cast<std::size_t>(block_index().x) * a.width;
    const auto rank_stride = static_cast<std::size_t>(a.rows) * a.width;
    floats4 own[most_parts];
    TROUPE_UNROLL
    for (unsigned part = 0; part < most_parts; ++part) {
      const auto i = (part * thread_count() + thread_index()) * 4;
      if (i >= a.width)
        break;
      own[part] = a.parts.template load_as<floats4>(row + i);
    }
    for (std::uint32_t rank = 1; rank < a.ranks; ++rank) {
      const auto theirs = a.parts + (rank * rank_stride + row);
      TROUPE_UNROLL
      for (unsigned part = 0; part < most_parts; ++part) {
        const auto i = (part * thread_count() + thread_index()) * 4;
        if (i >= a.width)
          break;
        const auto more = theirs.template load_as<floats4>(i);
        for (unsigned j = 0; j < 4; ++j)
          own[part].at[j] += more.at[j];
      }
    }
    float squares = 0;
    TROUPE_UNROLL
    for (unsigned part = 0; part < most_parts; ++part) {
      const auto i = (part * thread_count() + thread_index()) * 4;
      if (i >= a.width)
        break;
      const auto before = a.hidden.template load_as<floats4>(row + i);
      for (unsigned j = 0; j < 4; ++j) {
        own[part].at[j] = before.at[j] + own[part].at[j];
        squares += own[part].at[j] * own[part].at[j];
      }
      a.hidden.store_as(row + i, own[part]);
    }
    add_rms_norm::store_normed(a, row, own, squares, memory);
  }
};

/// hidden += parts[0] + parts[1] + ..., four numbers a thread: where no norm follows.
struct add_parts {
  static constexpr const char* name = "add_parts";
  static constexpr unsigned max_threads = 256;
  struct arguments {
    global<float> hidden;      ///< [count]
    global<const float> parts; ///< [ranks, count]
    std::uint32_t count;       ///< A multiple of 4.
    std::uint32_t ranks;       ///< At least 1.
  };

  static constexpr grid_shape grid(std::uint32_t count) {
    return {{(count / 4 + max_threads - 1) / max_threads}, max_threads, 0};
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto i = (static_cast<std::size_t>(block_index().x) * thread_count() + thread_index()) * 4;
    if (i >= a.count)
      return;
    auto sum = a.parts.template load_as<floats4>(i);
    for (std::uint32_t rank = 1; rank < a.ranks; ++rank) {
      const auto more = a.parts.template load_as<floats4>(static_cast<std::size_t>(rank) * a.count + i);
      for (unsigned j = 0; j < 4; ++j)
        sum.at[j] += more.at[j];
    }
    auto hidden = a.hidden.template load_as<floats4>(i);
    for (unsigned j = 0; j < 4; ++j)
      hidden.at[j] += sum.at[j];
    a.hidden.store_as(i, hidden);
  }
};

} // namespace troupe::gpu
