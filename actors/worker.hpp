#pragma once

#include <functional>

#include "actors/interfaces.hpp"
#include "engine/batch_state.hpp"
#include "model/sampling/sampler.hpp"

namespace troupe {

/// Makes a worker's backend, in the worker's own thread. An error is permanent: no other worker would fare better.
using backend_factory = std::function<expected<std::unique_ptr<backend>>()>;

/// What came of one row that samples.
struct sampled_row {
  std::vector<token_id> tokens; ///< One, and one more for each draft that was right.
  std::vector<token_logprob> logprobs;
  std::optional<error> failed;
};

struct worker_state {
  worker_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  std::unique_ptr<backend> device;
  std::optional<error> failed;
  std::optional<error> lost; ///< The other ranks: a worker ends with them.
  batch_state batch;
  std::vector<sequence_sampler> samplers; ///< By slot.
  std::vector<sampling_workspace> rooms;  ///< One for each thread that samples.
  std::vector<sampled_row> sampled;       ///< Of the present step.
  std::vector<float> logits;
  static inline const char* name = "worker";
};

struct worker_options {
  backend_factory make_backend;
  std::uint32_t vocabulary = 0;
  std::size_t kv_groups = 1;
  executor_actor results; ///< Gets what becomes of each step,
  bool reports = true;    ///< or its errors alone, where another rank reports.
};

/// A worker; spawn it detached, for it computes in its handlers. Its weights are loaded when it starts; steps wait in
/// its mailbox.
worker_actor::behavior_type worker(worker_actor::stateful_pointer<worker_state> self, worker_options options);

} // namespace troupe
