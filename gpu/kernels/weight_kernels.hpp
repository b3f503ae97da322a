// Which kernel of gpu/kernels/list.hpp a matrix wants, and how it is launched: for the host.
#pragma once

#include "gpu/kernels/launch_plan.hpp"

namespace troupe::gpu {

/// Calls `use` with the policy of a format.
template <class Use>
constexpr auto with_format(weight_format format, Use use) {
  switch (format) {
  case weight_format::q8_0:
    return use(q8_0_weights{});
  case weight_format::q4_0:
    return use(q4_0_weights{});
  case weight_format::q4_1:
    return use(q4_1_weights{});
  case weight_format::q4_k:
    return use(q4_k_weights{});
  case weight_format::q6_k:
    return use(q6_k_weights{});
  case weight_format::f8:
    return use(f8_weights{});
  case weight_format::bf16:
    return use(bf16_weights{});
  case weight_format::f16:
    break;
  }
  return use(f16_weights{});
}

/// The most rows that one pass over the weights serves.
inline constexpr std::uint32_t most_product_rows = 8;

/// Arguments: `product_arguments`. rows: at least 1; over `most_product_rows`, weights are read again for each
/// further 8.
constexpr launch_plan plan_product(const weight_layout& matrix, std::uint32_t rows) {
  return with_format(matrix.format, [&](auto format) {
    using format_type = decltype(format);
    if (rows == 1)
      return plan_of<product<format_type, 1>>(matrix.outputs, rows);
    if (rows == 2)
      return plan_of<product<format_type, 2>>(matrix.outputs, rows);
    if (rows <= 4)
      return plan_of<product<format_type, 4>>(matrix.outputs, rows);
    return plan_of<product<format_type, 8>>(matrix.outputs, rows);
  });
}

/// The same on tensor cores, with weights rounded to bfloat16, and of the same bits for any number of rows; over 64, weights are read
/// again for each further 64.
constexpr launch_plan plan_skinny_product(const weight_layout& matrix, std::uint32_t rows) {
  return with_format(matrix.format,
                     [&](auto format) { return plan_of<skinny_product<decltype(format)>>(matrix.outputs, rows); });
}

/// Arguments: `dequantise_arguments`. A matrix of bf16 needs none: it lies as it would be written.
constexpr launch_plan plan_dequantise(const weight_layout& matrix, std::uint32_t rows) {
  return with_format(matrix.format,
                     [&](auto format) { return plan_of<dequantise<decltype(format)>>(rows, matrix.inputs); });
}

/// Arguments: `embed_arguments`.
constexpr launch_plan plan_embed(const weight_layout& matrix, std::uint32_t rows) {
  return with_format(matrix.format, [&](auto format) { return plan_of<embed<decltype(format)>>(rows); });
}

} // namespace troupe::gpu
