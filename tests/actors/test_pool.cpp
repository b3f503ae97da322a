// The pool's threads: what is passed on runs, whoever hands over is not waited for, and a chain starves nobody.
#include <boost/test/unit_test.hpp>

#include <future>

#include "actors/pool.hpp"

namespace troupe {

BOOST_AUTO_TEST_SUITE(pool)

namespace {

using namespace std::chrono_literals;
using go_atom = caf::atom_constant<caf::atom("go")>;

// Actors here have an argument each: CAF 0.17 dereferences a null pointer to the arguments of one that has none, which
// the standard library's assertions notice.
caf::behavior tells(caf::event_based_actor* self, std::shared_ptr<std::promise<void>> promise) {
  return {[=](go_atom) {
    promise->set_value();
    self->quit();
  }};
}

class pool_fixture {
public:
  explicit pool_fixture(std::size_t threads) {
    config_.load<chain_pool>();
    config_.set("scheduler.max-threads", threads);
    config_.set("scheduler.max-throughput", std::size_t{50});
    system_ = std::make_unique<caf::actor_system>(config_);
  }

  caf::actor_system& system() { return *system_; }

  /// Tells `future` when it gets its message.
  std::pair<caf::actor, std::future<void>> listener() {
    auto promise = std::make_shared<std::promise<void>>();
    auto future = promise->get_future();
    return {system_->spawn(tells, promise), std::move(future)};
  }

private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
};

caf::behavior passes_on(caf::event_based_actor* self, caf::actor next) {
  return {[=](go_atom) {
    self->send(next, go_atom::value);
    self->quit();
  }};
}

/// What the policy wants of CAF's pool and of one of its threads.
struct fake_pool {
  chain_policy::coordinator_data& data() { return data_; }
  chain_policy::coordinator_data data_{nullptr};
};

struct fake_thread {
  explicit fake_thread(fake_pool* pool) : parent_(pool) {}
  chain_policy::worker_data& data() { return data_; }
  fake_pool* parent() { return parent_; }
  fake_pool* parent_;
  chain_policy::worker_data data_{nullptr};
};

/// A thread of that pool in which somebody runs.
struct fake_turn {
  fake_turn() { policy.before_resume(&thread, nullptr); }
  void wake(caf::resumable* job) { policy.internal_enqueue(&thread, job); }
  const std::deque<caf::resumable*>& queue() const { return pool.data_.queue; }
  fake_pool pool;
  fake_thread thread{&pool};
  chain_policy policy;
};

using jobs = std::deque<caf::resumable*>;
int places[2]; // Of jobs that are never run.
auto* const first = reinterpret_cast<caf::resumable*>(&places[0]);
auto* const second = reinterpret_cast<caf::resumable*>(&places[1]);

} // namespace

BOOST_AUTO_TEST_CASE(a_long_chain_arrives_with_one_thread_and_with_four) {
  for (std::size_t threads : {1, 4}) {
    pool_fixture f(threads);
    auto [last, arrived] = f.listener();
    auto next = last;
    for (int i = 0; i < 1000; ++i)
      next = f.system().spawn(passes_on, next);
    caf::anon_send(next, go_atom::value);
    BOOST_CHECK(arrived.wait_for(60s) == std::future_status::ready);
  }
}

BOOST_AUTO_TEST_CASE(whoever_is_woken_before_a_hand_over_runs_while_the_waker_computes) {
  pool_fixture f(2);
  auto [other, arrived] = f.listener();
  auto shared = std::make_shared<std::future<void>>(std::move(arrived));
  std::promise<bool> result;
  f.system().spawn(
    [&, other = other](caf::event_based_actor* self, int) {
      self->send(other, go_atom::value);
      hand_over(self);
      result.set_value(shared->wait_for(60s) == std::future_status::ready); // The thread is busy with this.
    },
    0);
  BOOST_CHECK(result.get_future().get());
}

BOOST_AUTO_TEST_CASE(only_the_first_that_is_woken_waits_for_the_waker) {
  fake_turn turn;
  turn.thread.data_.resumed += 1h; // It is early, however slow this machine is.
  turn.wake(first);
  turn.wake(second);
  BOOST_CHECK(turn.thread.data_.next == first);
  BOOST_CHECK(turn.queue() == jobs{second});
}

BOOST_AUTO_TEST_CASE(nobody_waits_for_a_waker_who_has_run_for_long) {
  fake_turn turn;
  turn.thread.data_.resumed += 1h;
  turn.wake(first);
  turn.thread.data_.resumed -= 2h;
  turn.wake(second);
  BOOST_CHECK(!turn.thread.data_.next);
  BOOST_CHECK((turn.queue() == jobs{first, second}));
}

BOOST_AUTO_TEST_CASE(a_chain_without_end_does_not_starve_the_queue) {
  fake_turn turn;
  turn.policy.central_enqueue(&turn.pool, second);
  int turns = 0;
  for (caf::resumable* job = nullptr; job != second && turns < 1000; ++turns) {
    turn.policy.before_resume(&turn.thread, job);
    turn.wake(first);
    job = turn.policy.dequeue(&turn.thread);
  }
  BOOST_CHECK_LE(turns, 100);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe
