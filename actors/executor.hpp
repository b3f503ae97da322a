#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>

#include "actors/interfaces.hpp"
#include "actors/observer.hpp"
#include "actors/timeouts.hpp"
#include "engine/step_deadline.hpp"

namespace troupe {

struct executor_state {
  executor_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.
  ~executor_state();          ///< Who waits for an answer is told that none comes.

  using time_point = std::chrono::steady_clock::time_point;

  std::uint32_t engine = 0; ///< Its supervisor's name for it.
  supervisor_actor supervisor;
  observers observed_by;
  scheduler_actor scheduler;
  std::vector<stage_actor> stages; ///< Empty while dead ones are being replaced.
  std::uint64_t epoch = 0;
  std::uint64_t steps = 0;      ///< Results passed on since the start.
  std::uint64_t lost_steps = 0; ///< In flight when an epoch ended.
  struct step_in_flight {
    std::uint64_t step = 0;
    std::uint32_t prefill_tokens = 0, decode_tokens = 0; ///< As `step_record` says.
    std::uint32_t sequences = 0;
    std::size_t rows() const { return std::size_t{prefill_tokens} + decode_tokens; }
  };
  std::deque<step_in_flight> in_flight;
  time_point front_since; ///< From then on the first of them is computed, as far as is known.
  bool loaded = false;    ///< All workers of this epoch have their weights.
  bool fresh = true;      ///< No step of this epoch has come back yet.
  step_deadline deadline{std::chrono::duration<double, std::milli>(timeouts::step).count()};
  bool looks_late = false; ///< The first of them did at the last look.
  struct late_step {
    std::uint64_t epoch = 0;
    step_in_flight what;
    time_point since;
  };
  std::optional<late_step> given_up;    ///< The last that was not waited for any longer.
  std::optional<time_point> lost_since; ///< The stages have been, and others do not compute yet.
  std::uint64_t last_recovery_ms = 0;   ///< How long that was, the last time.
  bool alarm_set = false;
  std::optional<error> failed;
  std::string fingerprint;         ///< Of the first epoch's workers; all others must have it.
  std::vector<worker_info> infos;  ///< Of the stages of this epoch, once they have loaded,
  std::optional<worker_info> info; ///< and their sum.
  std::vector<caf::typed_response_promise<expected<worker_info>>> waiting_for_info;
  std::map<std::uint64_t, std::function<void(error)>>
    transfers; ///< Of blocks, in this epoch: who is to be told of its end.
  std::uint64_t last_transfer = 0;
  static inline const char* name = "executor";
};

/// The executor of one engine. When a stage dies, or is too late with a step, it raises the epoch, so that nothing of
/// the old one counts, asks the supervisor for others, and has the scheduler compute every sequence again.
executor_actor::behavior_type executor(executor_actor::stateful_pointer<executor_state> self,
                                       supervisor_actor supervisor, std::uint32_t engine, observers observed_by);

} // namespace troupe
