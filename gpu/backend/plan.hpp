// What the GPU backend does for a program: its operations as steps, each of which is a launch of kernels or two.
//
// Pure decisions; the backend executes them.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "protocol/error.hpp"

namespace troupe::gpu {

/// The rows of a step in device memory. Products read brain floats and write float32.
enum class device_buffer : std::uint8_t {
  hidden,    ///< float32 [rows, width]
  normed,    ///< bf16 [rows, width]
  query,     ///< float32 [rows, heads, head size], as projected
  key,       ///< float32 [rows, kv heads, head size]
  value,     ///< float32 [rows, kv heads, head size]
  rotated,   ///< bf16 [rows, heads, head size]: queries after RoPE
  attended,  ///< bf16 [rows, heads, head size]
  gate,      ///< float32 [rows, feed-forward width]
  up,        ///< float32 [rows, feed-forward width]
  activated, ///< bf16 [rows, feed-forward width]: after SwiGLU
  projected, ///< float32 [rows, width]
  logits,    ///< float32 [rows, vocabulary rounded up to 8]
  count
};

enum class step_kind : std::uint8_t {
  embed,
  take_hidden,
  norm,       ///< `adds`: hidden += projected first
  product,    ///< `accumulates`: adds to its output
  rope_store, ///< queries become `rotated`, keys and values go to the cache of `op.layer`
  attention,
  swiglu,
  add, ///< hidden += projected
  take_rows,
  all_reduce, ///< of `output`, over the ranks
  all_gather,
  give_hidden,
};

struct step {
  step_kind kind;
  operation op; ///< Its weight, slice and layer.
  device_buffer input = device_buffer::hidden, output = device_buffer::hidden;
  bool adds = false, accumulates = false;
};

/// Errors: unsupported (operations in an order that the kernels are not for; names the operation).
expected<std::vector<step>> plan_steps(const model_program& program);

} // namespace troupe::gpu
