// Which attention kernels a model's heads want, and how they are launched: for the host. None: there is no kernel for
// the head size.
#pragma once

#include <optional>

#include "gpu/kernels/launch_plan.hpp"

namespace troupe::gpu {

/// Heads that one block of the grid takes: all of a group of up to four, an even part of a larger one (of 7: 4, of 6
/// or 5: 3).
constexpr unsigned heads_a_block(std::uint32_t group) {
  const auto blocks = (group + 3) / 4;
  return (group + blocks - 1) / blocks;
}

/// Arguments: `decode_attention_arguments`. splits: `splits_of` the longest row.
constexpr std::optional<launch_plan> plan_decode_attention(std::uint32_t head_size, std::uint32_t heads,
                                                           std::uint32_t kv_heads, std::uint32_t rows,
                                                           std::uint32_t splits) {
  const auto of_size = [&]<unsigned HeadSize>(std::integral_constant<unsigned, HeadSize>) {
    switch (heads_a_block(heads / kv_heads)) {
    case 1:
      return plan_of<decode_attention<HeadSize, 1>>(rows, heads, kv_heads, splits);
    case 2:
      return plan_of<decode_attention<HeadSize, 2>>(rows, heads, kv_heads, splits);
    case 3:
      return plan_of<decode_attention<HeadSize, 3>>(rows, heads, kv_heads, splits);
    }
    return plan_of<decode_attention<HeadSize, 4>>(rows, heads, kv_heads, splits);
  };
  switch (head_size) {
  case 64:
    return of_size(std::integral_constant<unsigned, 64>{});
  case 128:
    return of_size(std::integral_constant<unsigned, 128>{});
  case 256:
    return of_size(std::integral_constant<unsigned, 256>{});
  }
  return std::nullopt;
}

/// Arguments: `combine_splits_arguments`.
constexpr std::optional<launch_plan> plan_combine_splits(std::uint32_t head_size, std::uint32_t rows,
                                                         std::uint32_t heads) {
  switch (head_size) {
  case 64:
    return plan_of<combine_splits<64>>(rows, heads);
  case 128:
    return plan_of<combine_splits<128>>(rows, heads);
  case 256:
    return plan_of<combine_splits<256>>(rows, heads);
  }
  return std::nullopt;
}

/// Arguments: `prefill_attention_arguments`. Heads of 256 have none: their keys and values would not fit a block's
/// shared memory.
constexpr std::optional<launch_plan> plan_prefill_attention(std::uint32_t head_size, std::uint32_t tiles,
                                                            std::uint32_t heads) {
  switch (head_size) {
  case 64:
    return plan_of<prefill_attention<64>>(tiles, heads);
  case 128:
    return plan_of<prefill_attention<128>>(tiles, heads);
  }
  return std::nullopt;
}

} // namespace troupe::gpu
