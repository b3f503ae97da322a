#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <set>

#include "actors/interfaces.hpp"
#include "actors/observer.hpp"
#include "comm/row_channel.hpp"
#include "comm/shared_memory.hpp"
#include "engine/batch_state.hpp"
#include "model/prompt_pooler.hpp"
#include "model/step_sampler.hpp"

namespace troupe {

/// Makes a worker's backend, in the worker's own thread. An error is permanent: no other worker would fare better.
using backend_factory = std::function<expected<std::unique_ptr<backend>>()>;

struct worker_state {
  worker_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  /// A step that the device computes, or is about to.
  struct begun_step {
    step_ptr step;
    batch_state::rows rows;
    std::chrono::steady_clock::time_point since;
  };

  std::unique_ptr<backend> device;
  std::optional<error> failed;
  std::optional<error> lost; ///< The other ranks: a worker ends with them.
  batch_state batch;
  std::optional<row_channel> rows_in, rows_out;
  chain_actor next, first;            ///< Of the pipeline, where it is to tell them.
  std::deque<step_ptr> waiting;       ///< For rows or tokens, those behind the first for it.
  std::set<std::uint64_t> rows_there; ///< Steps of which the stage before has said so.
  std::deque<begun_step> begun;       ///< At most two; more than none only on a device that runs ahead.
  bool checks = false;                ///< It has asked itself to look whether the first of them has ended.
  std::chrono::steady_clock::time_point last_end; ///< Of the last step that has ended.
  std::optional<step_sampler> sampler;            ///< Once it has loaded.
  prompt_pooler pooler;
  std::vector<float> logits, hidden;
  static inline const char* name = "worker";
};

/// Where a worker stands in its engine and epoch, in values that travel to another process.
struct worker_seat {
  std::uint32_t engine = 0;            ///< Among those of the process that has started it.
  std::uint32_t stage = 0, stages = 1; ///< Of the pipeline.
  std::uint32_t rank = 0;              ///< Of the tensor-parallel group.
  std::uint64_t epoch = 0;
  std::string group;             ///< Address of the ranks' shared memory; empty: it is alone.
  std::vector<unsigned> shards;  ///< Logical shards of each rank.
  std::string rows_in, rows_out; ///< Addresses of row channels; empty: it takes none, or gives none.
  row_channel_shape channel;     ///< Their shape.

  /// Joins the group. Null where it is alone. Errors: those of `join_shared_group`.
  expected<std::shared_ptr<communicator>> join() const;

  stage_place place() const {
    return stage + 1 == stages ? stage_place::last : stage == 0 ? stage_place::first : stage_place::middle;
  }
};

/// Makes the backend of one of several workers, likewise. group: null where it is alone.
using rank_factory =
  std::function<expected<std::unique_ptr<backend>>(const worker_seat& seat, std::shared_ptr<communicator> group)>;

struct worker_options {
  worker_seat seat;
  backend_factory make_backend;
  std::uint32_t vocabulary = 0;
  std::uint32_t width = 0; ///< Of the model's hidden states.
  std::size_t kv_groups = 1;
  results_actor results; ///< Gets what becomes of each step,
  bool reports = true;   ///< or its errors alone, where another rank reports.
  std::uint32_t engine = 0;
  observers observed_by; ///< Those who want parts of steps.
};

/// Those who want parts of steps.
observers who_want_parts(const observers& all);

using own_worker_actor = worker_actor::extend<
  // To itself, while the device computes what was begun: has it ended?
  caf::reacts_to<check_atom>>;

/// A worker; spawn it detached, for it computes in its handlers. Its weights are loaded when it starts; steps wait in
/// its mailbox.
own_worker_actor::behavior_type worker(own_worker_actor::stateful_pointer<worker_state> self, worker_options options);

} // namespace troupe
