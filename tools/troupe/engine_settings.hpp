// What the command line can set of an engine beside its model and device: one struct, one definition of the options,
// and one function that hands them over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "engine/kv/block_hash.hpp"
#include "engine/policy.hpp"
#include "model/kv_cache_dtype.hpp"
#include "protocol/error.hpp"

namespace CLI {
class App;
}

namespace troupe {
struct engine_options;
}

namespace troupe::cli {

struct engine_settings {
  std::uint32_t max_batched_tokens = 512;     ///< --max-num-batched-tokens: rows in one step
  std::optional<std::uint32_t> max_sequences; ///< --max-num-seqs: running at once
  double step_budget_ms = 0; ///< --step-budget-ms: a step takes about so long at most; 0: as long as it takes
  scheduling_policy policy;  ///< --scheduling-policy, --priority-ageing-ms, --default-ttft-ms
  std::uint32_t long_prefill_tokens = 256; ///< --long-prefill-tokens: of one prompt in one step at most; 0: no limit
  bool prefix_caching = true;              ///< --no-prefix-caching
  block_hash_kind prefix_hash = block_hash_kind::xxh128; ///< --prefix-hash
  kv_cache_dtype kv_dtype = kv_cache_dtype::bf16;        ///< --kv-cache-dtype: how keys and values are stored
  std::filesystem::path kv_disk;                         ///< --kv-disk: a folder for evicted blocks; empty: none
  std::uint32_t kv_disk_gib = 8;                         ///< --kv-disk-gib: how much of it at most
  std::uint32_t kv_host_gib =
    0;                          ///< --kv-host-gib: memory for blocks that were evicted, in front of the disk; 0: none
  std::string kv_events_replay; ///< --kv-events-replay: where missed ones are asked for; empty: nowhere
  std::string kv_events;        ///< --kv-events: an endpoint to publish block events on; empty: none
  std::uint32_t max_restarts = 5;              ///< --max-restarts: of an engine's workers within a minute
  std::uint32_t max_queued_requests = 4096;    ///< --max-queued-requests: open at once, running ones too
  std::uint64_t max_queued_tokens = 64u << 20; ///< --max-queued-tokens: of their prompts
  bool operator==(const engine_settings&) const = default;
};

/// The options of every command that has an engine.
void add_engine_settings(CLI::App* group, engine_settings& settings);

/// Those of a command whose clients are others.
void add_admission_settings(CLI::App* group, engine_settings& settings);

/// --max-num-seqs, or its default, which is no more than a step has rows.
std::uint32_t max_sequences_of(const engine_settings& settings);

/// Writes the settings to where the engine reads them. Errors: invalid_argument, where two of them do not
/// go together.
expected<void> hand_over(const engine_settings& settings, engine_options& options);

} // namespace troupe::cli
