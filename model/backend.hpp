// What computes: a device's share of the weights, its KV memory, and the forward pass over a flat batch of rows.
//
// Owner: one worker actor, and only its thread calls `forward`. A backend may use threads of its own inside a call.
//
// Contract (batch invariance): the logits of a row, and the KV that it stores, are the same bits whatever other rows
// are in the batch and however the sequence was cut into calls.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "engine/step.hpp"
#include "model/architecture.hpp"

namespace troupe {

/// Consecutive positions of one sequence. The KV of all positions before `first_position` is in `blocks` already.
struct batch_span {
  std::uint32_t first_row = 0; ///< Index in `forward_batch::tokens`.
  std::uint32_t rows = 0;
  std::uint32_t first_position = 0;
  std::span<const block_id>
    blocks; ///< Covers positions 0 to first_position + rows - 1. (More groups will get tables of their own.)
};

struct forward_batch {
  std::span<const token_id> tokens;          ///< [rows]
  std::span<const batch_span> spans;         ///< Cover every row once, in order.
  std::span<const std::uint32_t> logit_rows; ///< Ascending rows whose logits are wanted.
};

struct memory_account {
  std::uint64_t weight_bytes = 0, kv_bytes = 0, workspace_bytes = 0;
};

class backend {
public:
  virtual ~backend() = default;

  /// "reference", "cpu-avx512vnni", ...: part of the numeric fingerprint.
  virtual std::string_view name() const = 0;

  /// Computes all rows and stores their KV. logits: [logit_rows.size(), vocabulary] float32.
  /// The caller has checked tokens, positions and blocks; wrong ones are a bug (assert).
  virtual void forward(const forward_batch& batch, std::span<float> logits) = 0;

  virtual memory_account memory() const = 0;
};

struct backend_options {
  std::uint32_t kv_blocks = 0;  ///< Blocks of `tokens_per_block` positions for all layers.
  std::uint32_t max_rows = 512; ///< Most rows in one `forward`.
  std::uint32_t max_logit_rows = 64;
  std::uint32_t threads = 0; ///< 0: as many as the process may run on.
};

/// Bytes of KV memory that one block takes, for all layers.
std::uint64_t kv_block_bytes(const model_program& program, std::uint32_t bytes_per_value);

} // namespace troupe
