// All kernels, in the order of their numbers.
#pragma once

#include "gpu/kernels/decode_attention.hpp"
#include "gpu/kernels/prefill_attention.hpp"
#include "gpu/kernels/quantised_products.hpp"
#include "gpu/kernels/rope_store.hpp"
#include "gpu/kernels/rows.hpp"
#include "gpu/kernels/sampling_choice.hpp"
#include "gpu/kernels/sampling_edits.hpp"
#include "gpu/kernels/sampling_logprobs.hpp"

namespace troupe::gpu {

using all_kernels =
  kernel_list<add_rms_norm, swiglu, take_rows, rope_store, decode_attention<64, 1>, decode_attention<64, 2>,
              decode_attention<64, 3>, decode_attention<64, 4>, decode_attention<128, 1>, decode_attention<128, 2>,
              decode_attention<128, 3>, decode_attention<128, 4>, combine_splits<64>, combine_splits<128>,
              prefill_attention<64>, prefill_attention<128>, product_q8_0<1>, product_q8_0<4>, edit_logits,
              undo_edits, scan_logits, weigh_logits, choose_tokens, judge_tokens>;

} // namespace troupe::gpu
