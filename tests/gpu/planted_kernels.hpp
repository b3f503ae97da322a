// Kernels that are right, and the same with one bug: the shim must find each.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu::test {

enum class bug {
  none,
  missing_barrier,        // between writing shared memory and reading what others have written
  missing_second_barrier, // before shared memory that others still read is written again
  missing_warp_barrier,
  wrong_fragment_lane,
  wrong_matrix_row,
  block_table_off_by_one,
  missing_split,
  copy_not_waited_for,
  copy_never_waited_for,
  copy_without_barrier,
  barrier_for_some,
  shuffle_for_some,
  past_the_end,
  past_the_array,
  too_little_shared_memory,
  misaligned_vector,
  unwritten_shared_memory,
  plain_add_for_atomic,
  sum_read_too_early, // others may still add to it
};

/// y[block] = the sum of count numbers, by all threads of one block.
template <bug Bug>
struct block_sums {
  static constexpr const char* name = "block_sums";
  static constexpr unsigned max_threads = 128;
  struct arguments {
    global<const float> x;
    global<float> y;
    std::uint32_t count;
  };
  static constexpr std::size_t shared_bytes = 16 + 16;

  static TROUPE_GPU float sum_of_warp(float value) {
    for (unsigned mask = 16; mask > 0; mask /= 2)
      value += shuffle_xor(value, mask);
    return value;
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto parts = memory.array<float>(4);
    const auto total = memory.array<float>(1);
    const auto x = a.x + block_index().x * a.count;
    float sum = 0;
    for (auto i = thread_index(); i < a.count; i += thread_count())
      sum += x.load(Bug == bug::past_the_end ? i + 1 : i);
    if (Bug == bug::shuffle_for_some && lane() >= 16)
      return;
    sum = sum_of_warp(sum);
    if (lane() == 0)
      parts.store(Bug == bug::past_the_array ? warp() + 1 : warp(), sum);
    if (Bug == bug::barrier_for_some && warp() == 3)
      return;
    if (Bug != bug::missing_barrier)
      sync_block();
    if (thread_index() == 0) {
      float all = 0;
      for (unsigned i = 0; i < thread_count() / 32; ++i)
        all += parts.load(i);
      total.store(0, all);
    }
    sync_block();
    const float all = total.load(0);
    if (Bug != bug::missing_second_barrier)
      sync_block();
    if (thread_index() == 1)
      total.store(0, 0.0f); // Somebody uses it for something else.
    if (thread_index() == 5)
      a.y.store(block_index().x, all);
  }
};

/// d (16 x 8, fp32) = a (16 x 16, row-major) b (16 x 8, column-major); through shared memory.
template <bug Bug>
struct matrix_tile {
  static constexpr const char* name = "matrix_tile";
  static constexpr unsigned max_threads = 32;
  struct arguments {
    global<const bf16> a, b;
    global<float> d;
  };
  static constexpr std::size_t shared_bytes = (16 * 16 + 8 * 16) * sizeof(bf16);

  static TROUPE_GPU void run(const arguments& given, shared_memory memory) {
    const auto a = memory.array<bf16>(16 * 16), b = memory.array<bf16>(8 * 16);
    copy_async(a, lane() * 8, given.a, lane() * 8);
    if (lane() < 16)
      copy_async(b, lane() * 8, given.b, lane() * 8);
    commit_copies();
    if (Bug != bug::copy_not_waited_for && Bug != bug::copy_never_waited_for)
      wait_copies<0>();
    if (Bug != bug::copy_without_barrier)
      sync_warp();
    fragment_a of_a;
    fragment_b of_b;
    fragment_sums d{};
    if (Bug != bug::copy_never_waited_for) {
      const auto row = lane() % 16 ^ (Bug == bug::wrong_matrix_row ? 8 : 0);
      const auto words = load_matrix(a, row * 16 + lane() / 16 * 8);
      for (unsigned i = 0; i < 4; ++i)
        of_a.at[i] = words.at[i];
      const auto group = lane() / 4, pair = lane() % 4;
      const auto half = Bug == bug::wrong_fragment_lane ? pair ^ 1 : pair;
      of_b.at[0] = b.load_as<std::uint32_t>(group * 16 + half * 2);
      of_b.at[1] = b.load_as<std::uint32_t>(group * 16 + half * 2 + 8);
      multiply_add(d, of_a, of_b);
    }
    if (Bug == bug::copy_not_waited_for)
      wait_copies<0>();
    const auto group = lane() / 4, pair = lane() % 4 * 2;
    for (unsigned j = 0; j < 4; ++j)
      given.d.store((group + j / 2 * 8) * 8 + pair + j % 2, d.at[j]);
  }
};

/// out = the rows of a sequence, whose rows are in blocks of `block_rows` by its table.
template <bug Bug>
struct paged_gather {
  static constexpr const char* name = "paged_gather";
  static constexpr unsigned max_threads = 32;
  static constexpr unsigned block_rows = 4, width = 16;
  struct arguments {
    global<const float> pages;
    global<const std::uint32_t> table;
    global<float> out;
    std::uint32_t rows;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto row = block_index().x;
    const auto entry = row / block_rows + (Bug == bug::block_table_off_by_one ? 1 : 0);
    const auto block = a.table.load(entry);
    const auto from = a.pages + (block * block_rows + row % block_rows) * width;
    if (lane() < width / 4) {
      const auto at = lane() * 4 + (Bug == bug::misaligned_vector ? 1 : 0);
      a.out.store_as(row * width + lane() * 4, from.template load_as<floats4>(at));
    }
  }
};

/// y = the sum of x, in splits: a block each; the last launch combines them.
template <bug Bug>
struct split_sum {
  static constexpr const char* name = "split_sum";
  static constexpr unsigned max_threads = 32;
  static constexpr unsigned splits = 4;
  struct arguments {
    global<const float> x;
    global<float> parts;
    global<float> y;
    std::uint32_t count;
    std::uint32_t combine;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    if (a.combine != 0) {
      if (lane() == 0) {
        float sum = 0;
        for (unsigned i = 0; i < splits; ++i)
          sum += a.parts.load(i);
        a.y.store(0, sum);
      }
      return;
    }
    const auto each = a.count / splits;
    float sum = 0;
    for (auto i = lane(); i < each; i += 32)
      sum += a.x.load(block_index().x * each + i);
    for (unsigned mask = 16; mask > 0; mask /= 2)
      sum += shuffle_xor(sum, mask);
    if (lane() == 0 && (Bug != bug::missing_split || block_index().x + 1 < splits))
      a.parts.store(block_index().x, sum);
  }
};

/// How many of x are over a bound, by atomics; and each lane's neighbour's value, by shared memory of a warp.
template <bug Bug>
struct count_and_swap {
  static constexpr const char* name = "count_and_swap";
  static constexpr unsigned max_threads = 64;
  static constexpr std::size_t shared_bytes = 64 * sizeof(float) + 16;
  struct arguments {
    global<const float> x;
    global<float> y;
    global<std::uint32_t> over;
    float bound;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto own = memory.array<float>(64);
    const auto over = memory.array<std::uint32_t>(1);
    const auto i = thread_index();
    const float value = a.x.load(i);
    if (i == 0 && Bug != bug::unwritten_shared_memory)
      over.store(0, 0);
    own.store(i, 0.0f);
    sync_block();
    own.store(i, value);
    if (Bug != bug::missing_warp_barrier)
      sync_warp();
    a.y.store(i, own.load(i ^ 1));
    sync_block();
    if (value > a.bound) {
      if (Bug == bug::plain_add_for_atomic)
        over.store(0, over.load(0) + 1);
      else
        atomic_add(over, 0, std::uint32_t{1});
    }
    if (Bug != bug::sum_read_too_early)
      sync_block();
    if (i == 0)
      atomic_add(a.over, 0, over.load(0));
  }
};

} // namespace troupe::gpu::test
