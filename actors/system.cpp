#include "actors/system.hpp"

#include <thread>

namespace troupe {

void configure(caf::actor_system_config& config) {
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  config.set("scheduler.policy", caf::atom("sharing"));
  config.set("scheduler.max-threads", std::size_t{std::clamp(cores, 4u, 16u)});
  config.set("scheduler.max-throughput", std::size_t{50});
}

supervisor_actor spawn_engine(caf::actor_system& system, engine_options options) {
  return system.spawn(supervisor, std::move(options));
}

} // namespace troupe
