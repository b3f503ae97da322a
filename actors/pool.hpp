// How pooled actors get a thread: a shared queue, and before it, for each thread of the pool, one place for the actor
// that is to go next there.
//
// Most messages of a step are a chain (executor, scheduler, executor, stage), and with CAF's own `sharing` policy every
// link wakes another thread, which costs more than all that the actors do. Here the first actor that is woken from
// within a thread runs next in the same thread, without a lock or a system call; whatever else is woken meanwhile goes
// to the queue. One sleeping thread at a time is called for what is in the queue, and calls the next if it finds more
// than one thing there: a call costs several microseconds, and most actors run for less.
//
// What must not happen is that the next one waits behind somebody slow: an actor that has already run for `patience`
// puts all whom it wakes into the queue, and one that is about to begin something long calls `hand_over` first. A
// thread takes from the queue after `chain_length` in a row, so that nobody there starves.
//
// Owner: the actor system. Threads: a place belongs to its thread; the queue has a lock. An idle thread sleeps.
// Source: the idea of a slot for the next task is that of the schedulers of Go and Tokio.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include <caf/all.hpp>
#include <caf/policy/unprofiled.hpp>
#include <caf/scheduler/coordinator.hpp>
#include <caf/scheduler/worker.hpp>

#include "actors/activity.hpp"

namespace troupe {

class chain_policy : public caf::policy::unprofiled {
public:
  static constexpr std::chrono::microseconds patience{50};
  static constexpr int chain_length = 32;
  static constexpr std::uint32_t most_messages = 50; ///< That an actor takes before others have their turn.

  struct coordinator_data {
    explicit coordinator_data(caf::scheduler::abstract_coordinator*) {}
    std::deque<caf::resumable*> queue;
    std::mutex lock;
    std::condition_variable filled;
    std::size_t sleeping = 0;
    bool waking = false; ///< One has been called and is not yet there; it calls the next if there is more to do.
    std::atomic<std::int64_t> counted_until{0}; ///< Nanoseconds of the steady clock.
  };

  struct worker_data {
    explicit worker_data(caf::scheduler::abstract_coordinator*) {}
    caf::resumable* next = nullptr;
    int chain = 0; ///< So many of `next` have run in a row.
    std::chrono::steady_clock::time_point resumed;
    activity_counts counts;
    bool counting = false; ///< The job that runs.
  };

  template <class Coordinator>
  void central_enqueue(Coordinator* self, caf::resumable* job) {
    auto& shared = d(self);
    std::unique_lock lock(shared.lock);
    shared.queue.push_back(job);
    call_one(shared, lock);
  }

  template <class Worker>
  void external_enqueue(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  void internal_enqueue(Worker* self, caf::resumable* job) {
    auto& mine = d(self);
    const bool late = std::chrono::steady_clock::now() - mine.resumed > patience;
    if (late)
      hand_over(self);
    if (late || mine.next)
      central_enqueue(self->parent(), job);
    else
      mine.next = job;
  }

  /// It has had its turn and wants another: after all others.
  template <class Worker>
  void resume_job_later(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  void before_resume(Worker* self, caf::resumable* job) {
    auto& mine = d(self);
    mine.resumed = std::chrono::steady_clock::now();
    mine.counting =
      mine.resumed.time_since_epoch().count() < d(self->parent()).counted_until.load(std::memory_order_relaxed) &&
      job->subtype() == caf::resumable::scheduled_actor;
    if (!mine.counting)
      return;
    auto& actor = *static_cast<caf::scheduled_actor*>(job); // Nobody else runs it now.
    const auto waiting = static_cast<std::uint32_t>(actor.mailbox().size());
    mine.counts.add(actor, waiting, std::min(waiting, most_messages));
  }

  /// The job may be gone already, or run elsewhere.
  template <class Worker>
  void after_resume(Worker* self, caf::resumable*) {
    if (auto& mine = d(self); mine.counting)
      mine.counts.ran(std::chrono::steady_clock::now() - mine.resumed);
  }

  template <class Worker>
  caf::resumable* dequeue(Worker* self) {
    auto& mine = d(self);
    if (mine.next && mine.chain++ < chain_length)
      return std::exchange(mine.next, nullptr);
    mine.chain = 0;
    hand_over(self);
    auto& shared = d(self->parent());
    std::unique_lock lock(shared.lock);
    while (shared.queue.empty()) {
      ++shared.sleeping;
      shared.filled.wait(lock);
      --shared.sleeping;
      shared.waking = false;
    }
    auto* job = shared.queue.front();
    shared.queue.pop_front();
    if (!shared.queue.empty())
      call_one(shared, lock);
    return job;
  }

  static void call_one(coordinator_data& shared, std::unique_lock<std::mutex>& lock) {
    const bool call = shared.sleeping > 0 && !shared.waking;
    shared.waking |= call;
    lock.unlock();
    if (call)
      shared.filled.notify_one();
  }

  /// What was to run next in this thread goes to the others.
  template <class Worker>
  void hand_over(Worker* self) {
    if (auto* job = std::exchange(d(self).next, nullptr))
      central_enqueue(self->parent(), job);
  }

  template <class Worker, class Function>
  void foreach_resumable(Worker*, Function) {} // A thread ends by a job of the queue, so its place is empty.

  template <class Coordinator, class Function>
  void foreach_central_resumable(Coordinator* self, Function what) {
    auto& shared = d(self);
    std::unique_lock lock(shared.lock);
    for (auto* job : std::exchange(shared.queue, {}))
      what(job);
  }
};

using chain_pool = caf::scheduler::coordinator<chain_policy>;

/// To be called by a handler that is about to compute for long: whom it has woken before need not wait for it.
inline void hand_over(caf::scheduled_actor* self) {
  if (auto* thread = dynamic_cast<caf::scheduler::worker<chain_policy>*>(self->context()))
    chain_policy().hand_over(thread);
}

} // namespace troupe
