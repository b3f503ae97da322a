// The host's side of sampling on a device: what a step wants of the kernels, and their launches.
//
//   sampling_step step(vocabulary);
//   step.clear();
//   step.sample(0, *sampling, {position, prompt_tokens, &history}, mask);       // each row of the step
//   ... copy step.rows(), edits(), history() and masks() to where `buffers` says ...
//   queue_sampling(device, stream, buffers, step.wants(stride));
//
// After that `tokens` has a token for each row, and whatever is queued on the stream may read it. Nothing of it depends on the batch:
// a token is what model/sampling's sequence_sampler takes from the same logits, bit for bit, and so are its logprobs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence_sampling.hpp"
#include "gpu/kernels/sampling_rows.hpp"
#include "gpu/runtime.hpp"
#include "model/sampling/history.hpp"
#include "model/sampling/processors.hpp"

namespace troupe::gpu {

/// How much a step wants, which decides what is launched.
struct sampling_wants {
  std::uint32_t rows = 0;
  std::uint32_t vocabulary = 0, stride = 0; ///< stride: floats from one row of logits to the next, a multiple of 4.
  bool edits = false;                       ///< Some row has edits or history.
  bool weighs = false;                      ///< Some row's weights are wanted.
  bool judges = false;                      ///< Some row wants logprobs.
};

/// Addresses in device memory; gpu/kernels/sampling_rows.hpp says what lies there. blocks: vocabulary / 32, rounded up.
struct sampling_buffers {
  // What the step brings.
  address rows = 0, edits = 0, history = 0, masks = 0, logits = 0;
  // Room, in which nothing has to be.
  address block_largest = 0; ///< fp32 [rows, blocks]
  address largest = 0;       ///< uint32 [rows]
  address bins = 0;          ///< wide [rows, weight_bins]; where something is weighed or judged.
  address before_edits = 0,
          before_history = 0; ///< fp32, one for each edit and each seen token; where something is judged.
  // Results.
  address tokens = 0;                       ///< int32 [rows]
  address statuses = 0;                     ///< uint32 [rows], of sampling_status
  address logprobs = 0, ranks = 0;          ///< fp32, uint32 [rows]; of rows that want them.
  address top_tokens = 0, top_logprobs = 0; ///< int32, fp32 [rows, most_top_logprobs]; likewise.
};

/// Where a sequence is.
struct sequence_place {
  std::uint32_t position = 0;                       ///< Of the token that is sampled.
  std::uint32_t prompt_tokens = 0;                  ///< Of the sequence.
  const sampling::token_history* history = nullptr; ///< Of `position` tokens; where the parameters need one.
};

/// The rows of one step, as arrays to copy to the device. Owner: who makes the step. It keeps its memory from step to step.
class sampling_step {
public:
  explicit sampling_step(std::uint32_t vocabulary) : vocabulary_(vocabulary) {}

  void clear();

  /// One more row. `logits`: which row of the step's logits. `mask`: a grammar's, empty: all tokens.
  void sample(std::uint32_t logits, const sequence_sampling& parameters, const sequence_place& place,
              sampling::token_mask mask = {});
  /// One more row, whose token is there already: it becomes the row's token, and is judged.
  void judge(std::uint32_t logits, token_id token, std::int32_t logprobs);

  std::span<const sampling_row> rows() const { return rows_; }
  std::span<const logit_edit> edits() const { return edits_; }
  std::span<const seen_token> history() const { return history_; }
  std::span<const std::uint32_t> masks() const { return masks_; }
  sampling_wants wants(std::uint32_t stride) const;

private:
  void add_edits(row_edits& to, const sequence_sampling& parameters, const sequence_place& place);
  void add_history(row_edits& to, const sampling::token_history& history);
  std::uint32_t add_mask(const sequence_sampling& parameters, sampling::token_mask mask);

  std::uint32_t vocabulary_;
  std::vector<sampling_row> rows_;
  std::vector<logit_edit> edits_;
  std::vector<seen_token> history_;
  std::vector<std::uint32_t> masks_;
  bool weighs_ = false, judges_ = false;
};

/// Queues what is wanted on a stream, in order. Errors: the device's.
expected<void> queue_sampling(runtime& device, stream_id on, const sampling_buffers& buffers,
                              const sampling_wants& wants);

} // namespace troupe::gpu
