// The kernels of planted_kernels.hpp and planted_orders.hpp that are right, as both compilers get them.
#pragma once

#include "tests/gpu/planted_kernels.hpp"
#include "tests/gpu/planted_orders.hpp"

namespace troupe::gpu::test {

using right_kernels =
  kernel_list<block_sums<bug::none>, matrix_tile<bug::none>, paged_gather<bug::none>, split_sum<bug::none>,
              count_and_swap<bug::none>, tile_pipeline<disorder::none>, swap_in_memory<disorder::none>,
              last_block_sum<disorder::none>, meet_and_add<disorder::none>>;

/// As nvcc has compiled them.
kernel_table planted_device_kernels();

} // namespace troupe::gpu::test
