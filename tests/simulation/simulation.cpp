#include "tests/simulation/simulation.hpp"

#include <cstdlib>
#include <iostream>

namespace troupe::simulated {

namespace {

constexpr std::size_t max_violations = 8;
constexpr auto small_jump = std::chrono::microseconds(300);

caf::actor_id id_of(caf::resumable* job) {
  return static_cast<caf::scheduled_actor*>(job)->id(); // Nothing else is ever scheduled here.
}

} // namespace

simulation::simulation(std::uint64_t seed) : random_(seed) {
  tells_ = std::getenv("TROUPE_SIMULATION_STORY") != nullptr;
  config_.set("scheduler.policy", caf::atom("testing"));
  system_ = std::make_unique<caf::actor_system>(config_);
  system_->await_actors_before_shutdown(false); // What is left over is reported, not waited for.
  coordinator_ = &static_cast<caf::scheduler::test_coordinator&>(system_->scheduler());
}

simulation::~simulation() {
  after_job = nullptr;
  when_quiet = nullptr;
  agenda_.clear();
}

void simulation::at(time_point due, std::function<void()> what) {
  agenda_.emplace(due, std::move(what));
}

void simulation::tell_line(const std::string& line) {
  const auto when = std::chrono::duration_cast<microseconds>(now().time_since_epoch()).count();
  std::cerr << jobs_ << ' ' << when << "us " << line << '\n';
}

void simulation::violate(std::string what) {
  if (violations_.size() >= max_violations)
    return;
  const auto when = std::chrono::duration_cast<microseconds>(now().time_since_epoch()).count();
  violations_.push_back("job " + std::to_string(jobs_) + ", " + std::to_string(when) + " us: " + std::move(what));
}

void simulation::run(std::size_t max_jobs) {
  const auto last = jobs_ + max_jobs;
  while (violations_.empty()) {
    const bool due = !agenda_.empty() && agenda_.begin()->first <= now();
    if (due && (coordinator_->jobs.empty() || random_.chance(50))) {
      auto first = agenda_.extract(agenda_.begin());
      first.mapped()();
    } else if (!coordinator_->jobs.empty()) {
      if (jobs_ == last)
        return violate("So many jobs have run that something must go round in circles.");
      run_a_job();
      if (random_.below(64) == 0 && next_due() - now() <= small_jump)
        go_to(next_due());
    } else {
      if (when_quiet)
        when_quiet();
      if (coordinator_->jobs.empty() && !go_to(next_due()))
        return;
    }
  }
}

void simulation::run_a_job() {
  auto& jobs = coordinator_->jobs;
  std::swap(jobs.front(), jobs[choose()]);
  const auto actor = id_of(jobs.front());
  note(actor);
  ++jobs_;
  coordinator_->run_once();
  if (after_job)
    after_job(actor);
}

std::size_t simulation::choose() {
  const auto& jobs = coordinator_->jobs;
  if (jobs.size() == 1)
    return 0;
  if (order == job_order::uniform)
    return random_.below(jobs.size());
  if (order == job_order::nearly_fifo)
    return random_.below(8) == 0 ? random_.below(jobs.size()) : 0;
  if (random_.below(100) == 0)
    ranks_ = random_.next();
  const auto rank = [&](std::size_t i) { return dice(ranks_ ^ id_of(jobs[i])).next(); };
  std::size_t best = 0;
  for (std::size_t i = 1; i < jobs.size(); ++i)
    if (rank(i) > rank(best))
      best = i;
  return best;
}

time_point simulation::next_due() {
  auto result = time_point::max();
  if (!agenda_.empty())
    result = agenda_.begin()->first;
  const auto& timers = coordinator_->clock().schedule();
  if (!timers.empty())
    result = std::min(result, timers.begin()->first);
  return result;
}

bool simulation::go_to(time_point due) {
  if (due == time_point::max())
    return false;
  note(static_cast<std::uint64_t>(due.time_since_epoch().count()));
  coordinator_->advance_time(std::max(due - now(), time_point::duration(0)));
  return true;
}

} // namespace troupe::simulated
