#include "actors/system.hpp"

#include <algorithm>
#include <thread>

#include "actors/pool.hpp"

namespace troupe {

void configure(caf::actor_system_config& config) {
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  config.load<chain_pool>(); // In place of whatever `scheduler.policy` says.
  config.set("scheduler.max-threads", std::size_t{std::clamp(cores, 4u, 16u)});
  config.set("scheduler.max-throughput", std::size_t{chain_policy::most_messages});
}

std::vector<actor_activity> activity_of(caf::actor_system& system) {
  auto* pool = dynamic_cast<chain_pool*>(&system.scheduler());
  if (!pool)
    return {};
  pool->data().counted_until =
    (std::chrono::steady_clock::now() + activity_window).time_since_epoch() / std::chrono::nanoseconds(1);
  std::vector<actor_activity> parts, out;
  for (std::size_t i = 0; i < pool->num_workers(); ++i)
    pool->worker_by_id(i)->data().counts.collect(parts);
  std::ranges::sort(parts, {}, &actor_activity::id);
  for (auto& part : parts) {
    if (out.empty() || out.back().id != part.id) {
      out.push_back(std::move(part));
      continue;
    }
    out.back().messages += part.messages;
    out.back().mailbox = std::max(out.back().mailbox, part.mailbox);
    out.back().busy += part.busy;
  }
  return out;
}

supervisor_actor spawn_engine(caf::actor_system& system, engine_options options) {
  worker_door door;
  if (options.processes)
    door = open_worker_door(system); // Here, since an actor of the pool must not wait.
  return system.spawn(supervisor, std::move(options), std::move(door));
}

} // namespace troupe
