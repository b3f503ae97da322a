#pragma once

#include <deque>
#include <memory>

#include "actors/child_process.hpp"
#include "actors/process/interfaces.hpp"
#include "actors/process/job.hpp"

namespace troupe {

/// How an engine's workers become processes.
struct worker_processes {
  std::vector<std::string> command; ///< A program, which calls `run_worker_process`, and its arguments.
  std::string device;               ///< worker_job::device
};

struct process_worker_options {
  worker_processes processes;
  worker_job job; ///< All but its token, which is made here.
  worker_door_actor door;
  results_actor results;
  std::uint32_t engine = 0;
  observers observed_by; ///< Those who want parts of steps.
};

struct process_worker_state {
  process_worker_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.
  ~process_worker_state();          ///< Kills the process, and does not wait for its end.

  process_worker_options options;
  std::unique_ptr<child_process> process;
  worker_host_actor host;                     ///< Invalid until the process has connected.
  std::deque<std::function<void()>> not_sent; ///< What came before that.
  chain_actor next, first;                    ///< Of the pipeline.
  bool connected = false;                     ///< Once.
  bool beating = false;                       ///< Somebody looks whether it lives.
  bool answered = true;                       ///< The last beat.
  unsigned asking = 0;                        ///< Questions on their way.
  bool has_work = false;                      ///< Since the last beat, or said to have by its answer.
  unsigned missed = 0;                        ///< Looks in a row that found no answer.
  static inline const char* name = "process_worker";
};

/// A worker that computes in a process of its own, which ends with this actor, and this actor with it. A process that
/// does not answer within a second while it has work (a stopped one, say) is killed. Without work nobody asks it.
process_worker_actor::behavior_type process_worker(process_worker_actor::stateful_pointer<process_worker_state> self,
                                                   process_worker_options options);

} // namespace troupe
