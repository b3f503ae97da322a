#pragma once

#include <chrono>
#include <deque>
#include <set>

#include "actors/interfaces.hpp"
#include "actors/kv_cache.hpp"
#include "actors/kv_events.hpp"
#include "actors/kv_tier.hpp"
#include "actors/router.hpp"
#include "actors/stand_ins.hpp"
#include "actors/worker.hpp"

namespace troupe {

/// What a Troupe is made of.
struct engine_options {
  std::shared_ptr<const model> source;
  backend_factory make_backend;
  /// Tensor parallelism: logical shards of each rank, and what makes a rank's backend. Empty: one worker, by
  /// `make_backend`. Ranks wait for each other while they compute, so workers must be detached.
  std::vector<unsigned> rank_shards;
  std::function<expected<std::unique_ptr<backend>>(unsigned rank, std::shared_ptr<communicator> group)> make_rank;
  std::uint32_t kv_blocks = 0; ///< Of `tokens_per_block` tokens; the backend has as many. Of the only group.
  planner_options plan;        ///< Its context length and groups are filled in from the model and `kv_blocks`.
  kv_store_options cache;      ///< Its groups likewise.
  tier_factory open_tier;      ///< Empty: no tier; otherwise `cache.tier` is enabled.
  std::optional<kv_events_options> events; ///< Where block events are published; then `cache.events` is on.
  std::uint32_t max_steps_in_flight = 2;   ///< One runs while the next is planned. 1: no overlap.
  std::uint32_t tokenizers = 2;
  admission_limits limits;
  std::uint32_t max_restarts = 5; ///< Of a worker, within `restart_window`.
  std::chrono::seconds restart_window{60};
  bool stop_when_failed = false; ///< An engine that has given up ends, instead of refusing all that comes.
  bool detached_workers = true;  ///< The tier's keeper, too. Off under a deterministic test scheduler.
  warning_sink warn;             ///< Is told what an operator should know.
  stand_ins between;             ///< For tests: who stands between two actors.
  /// Stands in for `worker`, where a test or a benchmark wants another; it answers steps as that does.
  std::function<worker_actor(caf::local_actor* parent, worker_options)> spawn_worker;
};

/// Tokens that a prompt and its answer may have together in this engine.
std::uint32_t context_length_of(engine_options options);

struct supervisor_state {
  supervisor_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  engine_options options;
  shared_tokens end_tokens; ///< Of the model; every stream has them.
  actor_tree tree;
  stage_actor stage;
  std::uint64_t groups = 0; ///< Made so far: the epoch of the next.
  kv_cache_partners cache_partners;
  std::vector<stream_actor> streams;
  std::uint64_t opened = 0;
  std::deque<std::chrono::steady_clock::time_point> restarts;
  bool stopping = false;
  bool flushing = false; ///< All requests have ended, and the last blocks go to the tier.
  caf::error reason;     ///< Of the stop.
  static inline const char* name = "supervisor";
};

supervisor_actor::behavior_type supervisor(supervisor_actor::stateful_pointer<supervisor_state> self,
                                           engine_options options);

} // namespace troupe
