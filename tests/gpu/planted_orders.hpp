// Kernels that are right, and the same with one thing missing that orders their threads or their blocks: the shim must find each.
#pragma once

#include "gpu/kernel.hpp"
#include "gpu/portable/portable.hpp"

namespace troupe::gpu::test {

enum class disorder {
  none,
  prefetch_before_others_have_read, // the next tile is copied over one that others still read
  own_copy_read_before_wait,
  others_copies_read_before_barrier,
  missing_barrier, // between writing device memory and reading what the block's other threads have written
  barrier_of_other_warps,
  bytes_of_a_neighbour, // a number of 2 bytes too far
  block_reads_another_s,
  blocks_write_the_same,
  no_fence_before_arrival,
  no_fence_after_arrival,
  counter_without_atomic,
  counter_reset_by_the_first,
  waits_in_a_loop,
  waits_for_another_block,
  shuffles_at_two_places,
  shuffles_of_two_sizes,
  barriers_at_two_places,
};

/// y[i] = the sum over tiles of x[tile][last - i]; tiles come by asynchronous copies, one while the other one is added.
template <disorder Bug>
struct tile_pipeline {
  static constexpr const char* name = "tile_pipeline";
  static constexpr unsigned max_threads = 64, width = 4 * max_threads;
  static constexpr std::size_t shared_bytes = 2 * width * sizeof(float);
  struct arguments {
    global<const float> x; ///< [tiles, width]
    global<float> y;       ///< [width]
    std::uint32_t tiles;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto tiles = memory.array<float>(2 * width);
    const auto i = thread_index() * 4;
    floats4 sum{};
    copy_async(tiles, i, a.x, i);
    commit_copies();
    for (std::uint32_t t = 0; t < a.tiles; ++t) {
      if (t + 1 < a.tiles)
        copy_async(tiles, (t + 1) % 2 * width + i, a.x, (t + 1) * width + i);
      commit_copies();
      const auto here = tiles + t % 2 * width;
      if (Bug == disorder::own_copy_read_before_wait)
        sum.at[0] += here.load(i);
      wait_copies<1>();
      if (Bug != disorder::others_copies_read_before_barrier)
        sync_block();
      const auto there = here.template load_as<floats4>(width - 4 - i);
      for (unsigned j = 0; j < 4; ++j)
        sum.at[j] += there.at[3 - j];
      if (Bug != disorder::prefetch_before_others_have_read)
        sync_block();
    }
    wait_copies<0>();
    a.y.store_as(i, sum);
  }
};

/// y = x with each pair of neighbours exchanged, through device memory; a block has 64 numbers of 2 bytes.
template <disorder Bug>
struct swap_in_memory {
  static constexpr const char* name = "swap_in_memory";
  static constexpr unsigned max_threads = 64;
  struct arguments {
    global<const bf16> x;
    global<bf16> between, y;
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory) {
    const auto first = block_index().x * thread_count(), i = first + thread_index();
    const auto to = Bug == disorder::blocks_write_the_same ? thread_index() : i;
    a.between.store(to, a.x.load(i));
    if (Bug == disorder::bytes_of_a_neighbour && thread_index() % 7 == 0)
      a.between.store_as(i / 2 * 2, std::uint32_t{0});
    if (Bug == disorder::barrier_of_other_warps)
      sync_warp();
    else if (Bug != disorder::missing_barrier)
      sync_block();
    const auto from = Bug == disorder::barrier_of_other_warps ? first + (thread_index() ^ 33) : i ^ 1;
    a.y.store(i, a.between.load(Bug == disorder::block_reads_another_s ? (from + 64) % 192 : from));
  }
};

/// y = the sum of x: each block's sum is written to device memory, and the block that is done last adds them.
template <disorder Bug>
struct last_block_sum {
  static constexpr const char* name = "last_block_sum";
  static constexpr unsigned max_threads = 64;
  static constexpr std::size_t shared_bytes = 16;
  struct arguments {
    global<const float> x;
    global<float> parts; ///< [blocks, 64]
    global<float> y;
    global<std::uint32_t> arrived; ///< 0 before and after.
  };

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto is_last = memory.array<std::uint32_t>(1);
    const auto i = block_index().x * thread_count() + thread_index();
    a.parts.store(i, a.x.load(i) * 2);
    sync_block();
    if (thread_index() == 0) {
      if (Bug != disorder::no_fence_before_arrival)
        fence_device();
      std::uint32_t before = 0;
      if (Bug == disorder::counter_without_atomic) {
        before = a.arrived.load(0);
        a.arrived.store(0, before + 1);
      } else if (Bug == disorder::counter_reset_by_the_first && block_index().x == 0) {
        a.arrived.store(0, 1);
      } else {
        before = atomic_add(a.arrived, 0, std::uint32_t{1});
      }
      if (Bug == disorder::waits_for_another_block)
        while (atomic_add(a.arrived, 0, std::uint32_t{0}) < block_count().x)
          ;
      if (Bug != disorder::no_fence_after_arrival)
        fence_device();
      is_last.store(0, before + 1 == block_count().x);
    }
    sync_block();
    if (is_last.load(0) == 0)
      return;
    float sum = 0;
    if (thread_index() == 5)
      for (unsigned j = 0; j < block_count().x * thread_count(); ++j)
        sum += a.parts.load(j);
    if (thread_index() == 5)
      a.y.store(0, sum);
    if (thread_index() == 0)
      a.arrived.store(0, 0);
  }
};

/// y[i] = x[i ^ 1] + x[i ^ 32], two warps.
template <disorder Bug>
struct meet_and_add {
  static constexpr const char* name = "meet_and_add";
  static constexpr unsigned max_threads = 64;
  static constexpr std::size_t shared_bytes = max_threads * sizeof(float) + 16;
  struct arguments {
    global<const float> x;
    global<float> y;
  };

  template <class Value>
  static TROUPE_GPU Value next(Value value) {
    return shuffle_xor(value, 1);
  }

  static TROUPE_GPU void run(const arguments& a, shared_memory memory) {
    const auto all = memory.array<float>(max_threads);
    const auto flag = memory.array<std::uint32_t>(1);
    const auto i = thread_index();
    const float own = a.x.load(i);
    if (i == 0)
      flag.store(0, 0);
    all.store(i, own);
    float other = 0;
    if (Bug == disorder::shuffles_at_two_places && lane() < 16)
      other = shuffle_xor(own, 1);
    else if (Bug == disorder::shuffles_of_two_sizes && lane() < 16)
      other = static_cast<float>(next(static_cast<double>(own)));
    else
      other = next(own);
    if (Bug == disorder::barriers_at_two_places && warp() == 1)
      sync_block();
    else
      sync_block();
    if (Bug == disorder::waits_in_a_loop) {
      if (i == 40)
        atomic_add(flag, 0, std::uint32_t{1});
      while (i == 3 && atomic_add(flag, 0, std::uint32_t{0}) == 0)
        ;
    }
    a.y.store(i, other + all.load(i ^ 32));
  }
};

} // namespace troupe::gpu::test
