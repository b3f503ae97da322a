#include "tests/simulation/fake_worker.hpp"

#include "actors/exceptions.hpp"
#include "tests/simulation/fake_memory.hpp"

namespace troupe::simulated {

namespace {

/// The tick is `slice`: the step at hand has taken its time.
using ticking_worker = worker_actor::extend<caf::reacts_to<slice_atom>>;

struct worker_life {
  worker_life() = default;

  std::shared_ptr<fake_device> device;
  std::unique_ptr<fake_memory> memory;
  results_actor results;
  /// A step, or something else to be done with the memory at its turn.
  struct work {
    step_ptr step;
    std::function<void()> transfer;
  };
  std::deque<work> queue; ///< When it dies, whoever waits for a transfer gets no answer, and has to lose its patience.
  bool hangs = false;
  static inline const char* name = "fake worker";
};

using self_pointer = ticking_worker::stateful_pointer<worker_life>;

void die(self_pointer self) {
  ++self->state.device->deaths;
  self->quit(caf::make_error(caf::sec::runtime_error, "the device has crashed, as the plan wanted"));
}

/// Does what takes no time, then begins the next step.
void go_on(self_pointer self) {
  auto& queue = self->state.queue;
  while (!queue.empty() && !queue.front().step) {
    queue.front().transfer();
    queue.pop_front();
  }
  if (queue.empty())
    return;
  auto& device = *self->state.device;
  auto& random = device.world.random();
  if (random.below(1000) < device.plan.hang_per_mille) {
    self->state.hangs = true; // The executor's patience ends it.
    return;
  }
  self->delayed_send(self, microseconds(random.between(1, device.plan.step_us)), slice_atom::value);
}

void end_step(self_pointer self) {
  auto& state = self->state;
  auto& device = *state.device;
  auto& random = device.world.random();
  const bool crashes = random.below(1000) < device.plan.crash_per_mille;
  if (crashes && random.chance(50))
    return die(self);
  const auto step = std::move(state.queue.front().step);
  state.queue.pop_front();
  auto result = state.memory->compute(*step);
  ++device.steps;
  device.rows += step->rows.size();
  if (crashes && random.chance(50))
    return die(self);
  self->send(state.results, result_atom::value, step->epoch, step_outcome(std::move(result)));
  if (crashes)
    return die(self);
  go_on(self);
}

void enqueue(self_pointer self, worker_life::work work) {
  auto& state = self->state;
  state.queue.push_back(std::move(work));
  if (state.queue.size() == 1 && !state.hangs)
    go_on(self);
}

ticking_worker::behavior_type fake_worker(self_pointer self, std::shared_ptr<fake_device> device,
                                          results_actor results) {
  explain_exceptions(self);
  ++device->made;
  auto& state = self->state;
  state.memory = std::make_unique<fake_memory>(
    device->plan.groups, [device](const std::string& what) { device->world.violate("Worker: " + what); });
  state.device = std::move(device);
  state.results = std::move(results);
  return {
    [](rows_atom, std::uint64_t, std::uint64_t) {}, // It is alone in its pipeline.
    [](sampled_atom, const step_tokens&) {},
    [](attach_atom, const chain_actor&, const chain_actor&) {},
    [=](step_atom, const step_ptr& step) { enqueue(self, {step, {}}); },
    [=](read_atom, const std::vector<block_place>& places) {
      auto promise = self->make_response_promise<expected<block_contents>>();
      enqueue(self, {nullptr, [=]() mutable {
                block_contents contents;
                for (const auto& each : places)
                  contents.push_back({each, self->state.memory->read(each.group, each.block)});
                promise.deliver(expected<block_contents>(std::move(contents)));
              }});
      return promise;
    },
    [=](write_atom, const block_contents& contents) {
      auto promise = self->make_response_promise<expected<nothing>>();
      enqueue(self, {nullptr, [=]() mutable {
                for (const auto& each : contents)
                  self->state.memory->write(each.place.group, each.place.block, *each.bytes);
                promise.deliver(expected<nothing>(nothing{}));
              }});
      return promise;
    },
    [=](info_atom) -> expected<worker_info> { return worker_info{"fake", "fake", {}, {}, {}, {}}; },
    [=](slice_atom) { end_step(self); },
  };
}

} // namespace

worker_actor make_fake_worker(caf::actor_system& system, std::shared_ptr<fake_device> device, results_actor results) {
  return system.spawn(fake_worker, std::move(device), std::move(results));
}

} // namespace troupe::simulated
