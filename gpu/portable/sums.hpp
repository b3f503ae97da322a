// Sums over a warp and over a block, in an order that depends on nothing but the number of threads.
#pragma once

#include "gpu/portable/portable.hpp"

namespace troupe::gpu {

/// Over groups of `Lanes` neighbours, a power of two; each lane gets its group's.
template <unsigned Lanes = 32>
TROUPE_GPU float group_sum(float value, call_site here = call_site::current()) {
  for (unsigned mask = Lanes / 2; mask > 0; mask /= 2)
    value += shuffle_xor(value, mask, here);
  return value;
}

/// Of shared memory, for `block_sum`.
inline constexpr std::size_t block_sum_bytes = 32 * sizeof(float);

/// Over all threads; each gets it. All of them call it.
TROUPE_GPU float block_sum(float value, shared_memory& memory, call_site here = call_site::current()) {
  const auto parts = memory.array<float>(32);
  value = group_sum(value, here);
  if (lane() == 0)
    parts.store(warp(), value);
  sync_block(here);
  float sum = 0;
  for (unsigned i = 0; i < thread_count() / 32; ++i)
    sum += parts.load(i);
  return sum;
}

} // namespace troupe::gpu
