#include "tests/simulation/real_worker.hpp"

#include "tests/support/fake_backend.hpp"
#include "tests/support/sampling_backend.hpp"

namespace troupe::simulated {

namespace {

/// Steps until the one that it dies of; -1: none.
int steps_to_live(dice& random, std::uint32_t crash_per_mille) {
  constexpr int most = 100'000;
  if (crash_per_mille == 0)
    return -1;
  int steps = 0;
  while (steps < most && random.below(1000) >= crash_per_mille)
    ++steps;
  return steps;
}

} // namespace

worker_actor make_real_worker(caf::actor_system& system, const std::shared_ptr<fake_device>& device,
                              results_actor results) {
  ++device->made;
  auto below = std::make_shared<test::fake_device>();
  below->vocabulary = tiny()->program.vocabulary;
  below->crash_in_steps = steps_to_live(device->world.random(), device->plan.crash_per_mille);
  worker_options options;
  const auto ahead = std::make_shared<std::atomic<std::uint64_t>>(0);
  options.make_backend = [below, ahead, runs_ahead = device->plan.seed % 2 == 0,
                          groups = device->plan.groups]() -> expected<std::unique_ptr<backend>> {
    auto plain = std::make_unique<test::fake_backend>(below, groups);
    if (runs_ahead)
      return std::make_unique<test::sampling_backend>(std::move(plain), below->vocabulary, ahead);
    return plain;
  };
  options.vocabulary = below->vocabulary;
  options.width = test::fake_width;
  options.kv_groups = device->plan.groups.size();
  options.results = std::move(results);
  auto result = system.spawn(worker, std::move(options));
  caf::actor_cast<caf::abstract_actor*>(result)->attach_functor([device, below, ahead](const caf::error& reason) {
    device->deaths += reason == caf::sec::runtime_error;
    device->steps += below->steps;
    device->ahead += *ahead;
  });
  return result;
}

} // namespace troupe::simulated
