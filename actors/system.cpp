#include "actors/system.hpp"

#include <thread>

#include "actors/pool.hpp"

namespace troupe {

void configure(caf::actor_system_config& config) {
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  config.load<chain_pool>(); // In place of whatever `scheduler.policy` says.
  config.set("scheduler.max-threads", std::size_t{std::clamp(cores, 4u, 16u)});
  config.set("scheduler.max-throughput", std::size_t{50});
}

supervisor_actor spawn_engine(caf::actor_system& system, engine_options options) {
  worker_door door;
  if (options.processes)
    door = open_worker_door(system); // Here, since an actor of the pool must not wait.
  return system.spawn(supervisor, std::move(options), std::move(door));
}

} // namespace troupe
