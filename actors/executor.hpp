#pragma once

#include <chrono>
#include <deque>

#include "actors/interfaces.hpp"

namespace troupe {

struct executor_state {
  executor_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  supervisor_actor supervisor;
  scheduler_actor scheduler;
  stage_actor stage; ///< Invalid while a dead one is being replaced.
  std::uint64_t epoch = 0;
  std::uint64_t steps = 0; ///< Results passed on since the start.
  struct step_in_flight {
    std::uint64_t step = 0;
    std::chrono::steady_clock::time_point sent; ///< To the stage.
  };
  std::deque<step_in_flight> in_flight;
  bool alarm_set = false;
  std::optional<error> failed;
  std::vector<caf::typed_response_promise<expected<worker_info>>> waiting_for_info;
  static inline const char* name = "executor";
};

/// The executor of one engine. When a stage dies, or is too late with a step, it raises the epoch, so that nothing of
/// the old one counts, asks the supervisor for another, and has the scheduler compute every sequence again.
executor_actor::behavior_type executor(executor_actor::stateful_pointer<executor_state> self,
                                       supervisor_actor supervisor);

} // namespace troupe
