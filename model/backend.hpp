// What computes: a device's share of the weights, its KV memory, and the forward pass over a flat batch of rows.
//
// Owner: one worker actor, and only its thread calls `forward`. A backend may use threads of its own inside a call.
//
// Contract (batch invariance): the logits of a row, and the KV that it stores, are the same bits whatever other rows
// are in the batch and however the sequence was cut into calls. On GPUs only with `batch_invariant` (gpu/backends.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "comm/communicator.hpp"
#include "engine/step.hpp"
#include "model/architecture.hpp"
#include "model/kv_cache_dtype.hpp"
#include "model/sampling/requests.hpp"

namespace troupe {

/// Consecutive positions of one sequence. The KV of all positions before `first_position` is in `blocks` already.
struct batch_span {
  std::uint32_t first_row = 0; ///< Index in `forward_batch::tokens`.
  std::uint32_t rows = 0;
  std::uint32_t first_position = 0;
  std::span<const block_id> blocks; ///< Of the first KV group: covers positions 0 to first_position + rows - 1.
  std::span<const std::vector<block_id>> tables{}; ///< Of all groups, for backends that have several.
};

/// Of one pipeline stage (model/stages.hpp), or of a whole model, which is the first and the last one.
struct forward_batch {
  std::span<const token_id> tokens;          ///< [rows]; they mean nothing to a stage that is not the first.
  std::span<const batch_span> spans;         ///< Cover every row once, in order.
  std::span<const std::uint32_t> logit_rows; ///< Ascending rows whose logits are wanted: none but of the last stage.
  std::span<const float> input = {};         ///< [rows, width]: what the stage before gave; empty: it is the first.
  /// [rows, width]: for the next stage. Empty: it is the last one, or another rank gives them.
  std::span<float> output = {};
  /// Where several ranks share the vocabulary: ascending indices in `logit_rows` of rows of which each rank wants no logits
  /// but its own. Those of the others are not gathered, and what stands in their place means nothing.
  std::span<const std::uint32_t> own_logits = {};
  /// Ascending rows behind all of `logit_rows` whose hidden states after the last norm are wanted, and no logits: none but
  /// of the last stage.
  std::span<const std::uint32_t> hidden_rows = {};
  std::span<float> hidden = {}; ///< [hidden_rows, width]: where these go.
  /// What is sampled of the logits where these are computed, by a backend that has said that it can. Then nobody gets the logits.
  std::span<const sampling_request> sampling = {};
  std::span<chosen_token> chosen = {}; ///< [logit_rows]: what has come of those of which something is asked.

  /// Of how many rows `forward` gives the logits.
  std::size_t given_logits() const { return sampling.empty() ? logit_rows.size() : 0; }
};

/// The tokens [begin, end) whose logits a rank computes; begin is a multiple of 32 (sampling::block_tokens).
struct vocabulary_share {
  std::uint32_t begin = 0, end = 0;
  unsigned ranks = 1; ///< That share the vocabulary. 1: this one has all of it.
};

struct memory_account {
  std::uint64_t weight_bytes = 0, kv_bytes = 0, workspace_bytes = 0;
};

class backend {
public:
  virtual ~backend() = default;

  /// "cpu", "cuda", "cuda-shim"
  virtual std::string_view device() const { return "cpu"; }
  /// "reference", "cpu-avx512vnni", ...: part of the numeric fingerprint.
  virtual std::string_view name() const = 0;

  /// Computes all rows and stores their KV. logits: [given_logits(), vocabulary] float32.
  /// The caller has checked tokens, positions and blocks; wrong ones are a bug (assert).
  /// Errors: those of the group of ranks, which is broken then; logits and KV of this batch mean nothing.
  virtual expected<void> forward(const forward_batch& batch, std::span<float> logits) = 0;

  // A step that gives no logits and no hidden states may be computed in two halves, so that the next one is queued before the tokens of this
  // one are known: they may stand in its batch as `awaited_token`s. At most two have begun and not ended; they end in their order, and
  // until then nothing else is asked of the backend but to copy blocks.

  /// Whether there are these halves.
  virtual bool runs_ahead() const { return false; }
  /// What `sampling` and `chosen` point to must stay until the end; the rest is needed no longer. Errors: those of `forward`.
  virtual expected<void> begin(const forward_batch&) {
    return fail(errc::unsupported, "This backend computes a step as a whole.");
  }
  /// Whether the step that was begun first is computed.
  virtual expected<bool> is_done() { return true; }
  /// Waits for that, and fills in what it has chosen.
  virtual expected<void> end() { return {}; }

  /// Whether `forward` can sample all of this. What it says may depend on the step, and on nothing that comes later.
  virtual bool samples(std::span<const sampling_request>) const { return false; }

  virtual vocabulary_share own_vocabulary() const { return {}; }

  /// Gives `mine` to all ranks that share the vocabulary, between two calls of `forward`: [ranks, mine.size()] in their
  /// order. All of them call it, with as many bytes. Errors: those of `forward`.
  virtual expected<void> exchange(std::span<const std::byte> mine, std::span<std::byte> all) {
    std::ranges::copy(mine, all.begin());
    return {};
  }

  /// What sampling's `scan` finds in the logits of the last `forward`, for those who can look while they are near:
  /// [logit_rows, blocks], of which those of the own part of the vocabulary count. Empty: nobody has looked.
  virtual std::span<const float> largest_logits() const { return {}; }

  /// Threads that `for_each` has, at least 1.
  virtual unsigned threads() const { return 1; }

  /// Calls body(index, thread) once for each index below `count`, on the threads that compute, between two calls of
  /// `forward`; `thread` is below threads(). Returns when all have returned. `body` must not throw.
  virtual void for_each(std::uint32_t count, const std::function<void(std::uint32_t, unsigned)>& body) {
    for (std::uint32_t index = 0; index < count; ++index)
      body(index, 0);
  }

  virtual memory_account memory() const = 0;

  /// How keys and values are stored ("f32", "bf16", "int8"): part of the numeric fingerprint.
  virtual std::string_view kv_type() const = 0;

  // The contents of blocks, all layers together, for copies of a block elsewhere. Only its owner calls these, between
  // two calls of `forward`; a block written back gives the same logits bit for bit, on the same fingerprint.

  // Backends with one group have group 0. Errors: those of a device that is lost; then what was to be written means nothing.

  /// Bytes of one block's contents; the same for every block of a group.
  virtual std::size_t block_bytes(kv_group group) const = 0;
  /// `to` has `block_bytes(group)` bytes.
  virtual expected<void> read_block(kv_group group, block_id block, std::span<std::byte> to) const = 0;
  /// `from` has `block_bytes(group)` bytes, which `read_block` gave.
  virtual expected<void> write_block(kv_group group, block_id block, std::span<const std::byte> from) = 0;
  /// The two are different blocks.
  virtual expected<void> copy_block(kv_group group, block_id from, block_id to) = 0;
};

/// How the CPU backend multiplies activations with weights; cpu/backends.hpp says what each is.
enum class cpu_arithmetic : std::uint8_t { int8, bf16 };

struct backend_options {
  std::uint32_t kv_blocks = 0;  ///< Blocks of `tokens_per_block` positions for all layers.
  std::uint32_t max_rows = 512; ///< Most rows in one `forward`.
  std::uint32_t max_logit_rows = 64;
  std::uint32_t threads = 0; ///< 0: as many as the process may run on.
  kv_cache_dtype kv_dtype = kv_cache_dtype::bf16;
  cpu_arithmetic arithmetic = cpu_arithmetic::int8;
  bool graphs = true;                                  ///< Of GPUs: steps of single rows are launched as one.
  bool batch_invariant = false;                        ///< Of GPUs; on CPUs a row's bits never depend on its company.
  std::shared_ptr<communicator> group = nullptr;       ///< This rank's, where the program is one of several ranks'.
  std::chrono::milliseconds collective_timeout{30000}; ///< For each call of the group,
  std::chrono::milliseconds loading_timeout{600000};   ///< but for the first, when other ranks may still load.
};

/// Bytes of KV memory that one block takes, for all layers.
std::uint64_t kv_block_bytes(const model_program& program, std::uint32_t bytes_per_value);

} // namespace troupe
