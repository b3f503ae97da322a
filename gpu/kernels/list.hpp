// All kernels, in the order of their numbers.
#pragma once

#include "gpu/kernels/decode_attention.hpp"
#include "gpu/kernels/prefill_attention.hpp"
#include "gpu/kernels/products.hpp"
#include "gpu/kernels/rope_store.hpp"
#include "gpu/kernels/rows.hpp"
#include "gpu/kernels/stored_weights.hpp"

namespace troupe::gpu {

template <class Format>
using kernels_of_format = kernel_list<product<Format, 1>, product<Format, 2>, product<Format, 4>, product<Format, 8>,
                                      dequantise<Format>, embed<Format>>;

using all_kernels =
  joined<kernel_list<add_rms_norm, swiglu, take_rows, rope_store, decode_attention<64, 1>, decode_attention<64, 2>,
                     decode_attention<64, 3>, decode_attention<64, 4>, decode_attention<128, 1>,
                     decode_attention<128, 2>, decode_attention<128, 3>, decode_attention<128, 4>, combine_splits<64>,
                     combine_splits<128>, prefill_attention<64>, prefill_attention<128>>,
         kernels_of_format<q8_0_weights>, kernels_of_format<q4_0_weights>, kernels_of_format<q4_1_weights>,
         kernels_of_format<q4_k_weights>, kernels_of_format<q6_k_weights>, kernels_of_format<f8_weights>,
         kernels_of_format<bf16_weights>, kernels_of_format<f16_weights>>;

} // namespace troupe::gpu
