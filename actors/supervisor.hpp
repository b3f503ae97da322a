#pragma once

#include <chrono>
#include <deque>
#include <set>

#include "actors/interfaces.hpp"
#include "actors/router.hpp"
#include "actors/worker.hpp"

namespace troupe {

/// What a Troupe is made of.
struct engine_options {
  std::shared_ptr<const model> source;
  backend_factory make_backend;
  std::uint32_t kv_blocks = 0;            ///< Of `tokens_per_block` tokens; the backend has as many.
  std::uint32_t max_batched_tokens = 512; ///< Rows in one step.
  std::uint32_t max_sequences = 64;       ///< Running at once.
  std::uint32_t tokenizers = 2;
  router_limits limits;
  std::uint32_t max_restarts = 5; ///< Of a worker, within `restart_window`.
  std::chrono::seconds restart_window{60};
  bool detached_workers = true; ///< Off under a deterministic test scheduler.
};

struct supervisor_state {
  supervisor_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  engine_options options;
  actor_tree tree;
  stage_actor stage;
  std::vector<stream_actor> streams;
  std::uint64_t opened = 0;
  std::deque<std::chrono::steady_clock::time_point> restarts;
  bool stopping = false;
  caf::error reason; ///< Of the stop.
  static inline const char* name = "supervisor";
};

supervisor_actor::behavior_type supervisor(supervisor_actor::stateful_pointer<supervisor_state> self,
                                           engine_options options);

} // namespace troupe
