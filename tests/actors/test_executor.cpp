// When an executor waits no longer, under a virtual clock. What it learns is in tests/engine/test_step_deadline.cpp.
#include "actors/executor.hpp"

#include <caf/scheduler/test_coordinator.hpp>

#include "tests/actors/engine_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(executor_suite)

namespace {

/// Has its weights at once, and says nothing of steps.
stage_actor::behavior_type silent_stage(stage_actor::pointer, const std::string& device) {
  return {
    [](rows_atom, std::uint64_t, std::uint64_t) {},
    [](sampled_atom, const step_tokens&) {},
    [](step_atom, const step_ptr&) {},
    [](read_atom, const std::vector<block_place>&) { return expected<block_contents>(); },
    [](write_atom, const block_contents&) { return expected<nothing>(); },
    [=](info_atom) {
      worker_info info;
      info.device = device;
      return expected<worker_info>(std::move(info));
    },
  };
}

/// An executor whose supervisor and workers are the test.
class lone_executor {
public:
  explicit lone_executor(std::string device = "cpu") : device_(std::move(device)) {
    config_.set("scheduler.policy", caf::atom("testing"));
    system_ = std::make_unique<caf::actor_system>(config_);
    self_ = std::make_unique<caf::scoped_actor>(*system_);
    executor_ = system_->spawn(executor, caf::actor_cast<supervisor_actor>(caf::strong_actor_ptr{(*self_)->ctrl()}),
                               0u, observers{});
    give_stage();
    for (int i = 0; i < 300; ++i) {
      begin_step();
      pass(4ms);
      end_step(epoch, step);
    }
  }
  ~lone_executor() {
    caf::anon_send_exit(executor_, caf::exit_reason::kill);
    caf::anon_send_exit(stage_, caf::exit_reason::kill);
    executor_ = nullptr;
    stage_ = nullptr;
    run();
  }

  void begin_step() {
    auto changes = std::make_shared<step_changes>();
    changes->epoch = epoch;
    changes->step = ++step;
    caf::anon_send(executor_, step_atom::value, step_ptr(std::move(changes)));
    run();
  }
  void end_step(std::uint64_t of_epoch, std::uint64_t number) {
    step_result result;
    result.epoch = of_epoch;
    result.step = number;
    caf::anon_send(executor_, result_atom::value, of_epoch, step_outcome(std::move(result)));
    run();
  }

  /// Begins a step and does not end it: so long it is waited for. The next epoch has begun then.
  std::chrono::milliseconds wait_in_vain() {
    begin_step();
    auto waited = 0ms;
    for (bool asked = false; !asked; (*self_)->receive(
           [&](replace_atom, std::uint32_t, const std::string&) { asked = true; }, caf::after(0ms) >> [] {})) {
      BOOST_REQUIRE(waited < 100s);
      pass(100ms);
      waited += 100ms;
    }
    ++epoch;
    give_stage();
    return waited;
  }

  void pass(std::chrono::milliseconds time) {
    coordinator().advance_time(time);
    run();
  }

  std::uint64_t epoch = 0, step = 0;

private:
  caf::scheduler::test_coordinator& coordinator() {
    return static_cast<caf::scheduler::test_coordinator&>(system_->scheduler());
  }
  void run() { coordinator().run(); }
  void give_stage() {
    stage_ = system_->spawn(silent_stage, device_);
    caf::anon_send(executor_, replace_atom::value, std::vector{stage_});
    run();
  }

  std::string device_; ///< Of the stages.
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<caf::scoped_actor> self_;
  executor_actor executor_;
  stage_actor stage_;
};

/// Looks for late steps are half a second apart, and two have to find it.
void check_about(std::chrono::milliseconds waited, std::chrono::milliseconds limit) {
  BOOST_TEST(waited.count() >= limit.count());
  BOOST_TEST(waited.count() <= (limit + 1100ms).count());
}

} // namespace

BOOST_AUTO_TEST_CASE(after_each_step_that_was_waited_for_in_vain_the_next_is_waited_for_longer) {
  lone_executor f;
  for (const auto limit : {2s, 4s, 8s, 8s})
    check_about(f.wait_in_vain(), limit);
}

BOOST_AUTO_TEST_CASE(a_worker_that_says_after_all_what_nobody_waits_for_shows_how_long_a_step_may_take) {
  lone_executor f;
  check_about(f.wait_in_vain(), 2s);
  f.pass(20s);
  f.end_step(f.epoch - 1, f.step);
  const auto waited = f.wait_in_vain();
  BOOST_TEST(waited.count() >= (44s).count() * 1000); // Twice the time that it took, which was 22 seconds and more.
}

BOOST_AUTO_TEST_CASE(the_first_step_of_an_epoch_on_gpus_is_waited_for_longer_and_teaches_nothing) {
  lone_executor f("cuda");
  check_about(f.wait_in_vain(), 2s);
  check_about(f.wait_in_vain(), 60s);
  f.begin_step();
  f.pass(30s);
  f.end_step(f.epoch, f.step);
  check_about(f.wait_in_vain(), 8s);
}

BOOST_AUTO_TEST_SUITE_END()
