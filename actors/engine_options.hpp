// What a Troupe is made of.
#pragma once

#include <chrono>

#include "actors/kv_cache.hpp"
#include "actors/kv_events.hpp"
#include "actors/kv_tier.hpp"
#include "actors/observer.hpp"
#include "actors/process/process_worker.hpp"
#include "actors/router.hpp"
#include "actors/stand_ins.hpp"
#include "actors/worker.hpp"

namespace troupe {

struct engine_options {
  std::shared_ptr<const model> source;
  backend_factory make_backend; ///< Of the only worker of an engine.
  rank_factory
    make_rank; ///< Of several; then they must be detached, for they wait for each other while they compute.
  std::vector<unsigned> rank_shards{1};      ///< Tensor parallelism: logical shards of each rank.
  std::uint32_t stages = 1;                  ///< Pipeline parallelism.
  std::optional<worker_processes> processes; ///< Workers are processes; the actor system needs `configure_processes`.
  std::uint32_t engines = 1;                 ///< Data parallelism: each has its own scheduler, KV cache and workers.
  std::uint32_t kv_blocks =
    0;                  ///< Of `tokens_per_block` tokens, of each engine; the backend has as many. Of the only group.
  planner_options plan; ///< Its context length and groups are filled in from the model and `kv_blocks`.
  kv_store_options cache;                  ///< Its groups likewise.
  tier_factory open_tier;                  ///< Empty: no tier; otherwise `cache.tier` is enabled.
  std::optional<kv_events_options> events; ///< Where block events are published; then `cache.events` is on.
  std::uint32_t max_steps_in_flight = 2;   ///< One runs while the next is planned. 1: no overlap.
  std::uint32_t tokenizers = 2;
  admission_limits limits;
  std::uint32_t max_restarts = 5; ///< Of an engine's workers, within `restart_window`.
  std::chrono::seconds restart_window{60};
  bool stop_when_failed = false; ///< When the last engine has given up all ends, instead of refusing all that comes.
  bool detached_workers = true;  ///< The tier's keeper, too. Off under a deterministic test scheduler.
  logger log;                    ///< Is told what an operator should know.
  observers observed_by;         ///< Are told of requests and steps.
  stand_ins between;             ///< For tests: who stands between two actors.
  /// Stands in for `worker`, where a test or a benchmark wants another; it answers steps as that does.
  std::function<worker_actor(caf::local_actor* parent, worker_options)> spawn_worker;
};

/// What the options leave open is what the model says.
void complete(engine_options& options);

/// Tokens that a prompt and its answer may have together in this engine.
std::uint32_t context_length_of(engine_options options);

} // namespace troupe
