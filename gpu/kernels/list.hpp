// All kernels, in the order of their numbers.
#pragma once

#include "gpu/kernels/block_copies.hpp"
#include "gpu/kernels/decode_attention.hpp"
#include "gpu/kernels/prefill_attention.hpp"
#include "gpu/kernels/products.hpp"
#include "gpu/kernels/rank_sums.hpp"
#include "gpu/kernels/rope_store.hpp"
#include "gpu/kernels/rows.hpp"
#include "gpu/kernels/sampling_choice.hpp"
#include "gpu/kernels/sampling_edits.hpp"
#include "gpu/kernels/sampling_logprobs.hpp"
#include "gpu/kernels/skinny_product.hpp"
#include "gpu/kernels/stored_weights.hpp"

namespace troupe::gpu {

template <class Format>
using kernels_of_format = kernel_list<product<Format, 1>, product<Format, 2>, product<Format, 4>, product<Format, 8>,
                                      skinny_product<Format>, dequantise<Format>, embed<Format>>;

template <unsigned HeadSize>
using decode_attention_of =
  kernel_list<decode_attention<HeadSize, 1>, decode_attention<HeadSize, 2>, decode_attention<HeadSize, 3>,
              decode_attention<HeadSize, 4>, combine_splits<HeadSize>>;

using all_kernels =
  joined<kernel_list<add_rms_norm, add_bias, add_rows, swiglu, take_rows, rope_store, copy_blocks, gather_blocks,
                     scatter_blocks>,
         kernel_list<add_parts_rms_norm, add_parts>,
         kernel_list<edit_logits, undo_edits, scan_logits, weigh_logits, choose_tokens, judge_tokens>,
         decode_attention_of<64>, decode_attention_of<128>, decode_attention_of<256>,
         kernel_list<prefill_attention<64>, prefill_attention<128>>, kernels_of_format<q8_0_weights>,
         kernels_of_format<q4_0_weights>, kernels_of_format<q4_1_weights>, kernels_of_format<q4_k_weights>,
         kernels_of_format<q6_k_weights>, kernels_of_format<f8_weights>, kernels_of_format<bf16_weights>,
         kernels_of_format<f16_weights>>;

} // namespace troupe::gpu
