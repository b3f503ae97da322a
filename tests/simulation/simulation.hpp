// A world of actors in one thread, whose time and order are drawn from a seed: CAF's test coordinator, its virtual
// clock, and an agenda of what happens when. The same seed gives the same run, message for message.
//
// Time stands still while an actor has something to do, but for small jumps; else it jumps to what is due next. So a
// time-out of thirty seconds means that nothing else could happen, and costs nothing to wait for.
//
// Owner: the thread that made it. Nothing in it may be detached.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "tests/simulation/dice.hpp"

namespace troupe::simulated {

using microseconds = std::chrono::microseconds;
using time_point = caf::actor_clock::time_point;

/// How the next job is chosen among those that could run.
enum class job_order {
  uniform,    ///< Any, with equal chances.
  nearly_fifo, ///< The oldest, but one in eight is any.
  by_actor,   ///< Actors have random ranks, drawn anew from time to time: some are slow for long.
};

class simulation {
public:
  explicit simulation(std::uint64_t seed);
  ~simulation();
  simulation(const simulation&) = delete;
  simulation& operator=(const simulation&) = delete;

  caf::actor_system& system() { return *system_; }
  caf::scheduler::test_coordinator& coordinator() { return *coordinator_; }
  dice& random() { return random_; }
  time_point now() { return coordinator_->clock().now(); }
  job_order order = job_order::uniform;

  /// Has something done at a moment from now. What is due at one moment is done in the order in which it was asked for.
  void after(microseconds delay, std::function<void()> what) { at(now() + delay, std::move(what)); }
  void at(time_point due, std::function<void()> what);

  /// Mixes something that happened into the trace.
  void note(std::uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3u + (trace_ >> 47); }
  std::uint64_t trace() const { return trace_; }

  /// Where TROUPE_SIMULATION_STORY is set: what happens, line by line, for whoever looks into a seed.
  template <class Words>
  void tell(Words words) {
    if (tells_)
      tell_line(words());
  }

  /// A promise was broken. The run ends; only the first few are kept.
  void violate(std::string what);
  const std::vector<std::string>& violations() const { return violations_; }

  /// Called after each job with the actor that ran it, and when nothing can run before time goes on.
  std::function<void(caf::actor_id)> after_job;
  std::function<void()> when_quiet;

  /// Runs until nothing is left to be done, a promise is broken, or so many jobs have run (which breaks one).
  void run(std::size_t max_jobs);
  std::size_t jobs() const { return jobs_; }

private:
  void tell_line(const std::string& line);
  void run_a_job();
  std::size_t choose();
  time_point next_due();
  bool go_to(time_point due);

  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::scheduler::test_coordinator* coordinator_ = nullptr;
  dice random_;
  std::uint64_t ranks_ = 0; ///< Of actors under `by_actor`: a hash of this and their id.
  std::multimap<time_point, std::function<void()>> agenda_;
  std::uint64_t trace_ = 0xcbf29ce484222325u;
  std::size_t jobs_ = 0;
  bool tells_ = false;
  std::vector<std::string> violations_;
};

} // namespace troupe::simulated
