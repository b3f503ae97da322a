// The actors of one engine, as its supervisor keeps them: they are spawned, replaced and ended together.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

#include "actors/engine_options.hpp"
#include "actors/interfaces.hpp"
#include "actors/kv_cache.hpp"
#include "actors/process/door.hpp"
#include "comm/row_channel.hpp"

namespace troupe {

struct engine_actors {
  std::uint32_t index = 0;       ///< Its name among several.
  std::optional<open_door> door; ///< Where its workers come in, if they are processes.
  engine_tree tree;
  kv_cache_partners partners;
  std::vector<stage_actor> stages;   ///< Of the present epoch, as are
  std::vector<row_channel> channels; ///< what each stage but the last hands its rows on through.
  std::uint64_t epochs = 0;          ///< Sets of workers spawned so far.
  std::deque<std::chrono::steady_clock::time_point> restarts;
  caf::actor_addr ending_publisher; ///< It begins anew when this has ended.
  bool down = false;                ///< It has given up, or one of its actors has died.

  bool has(const caf::actor_addr& actor) const;
};

/// Spawns and monitors all of them. Errors: the cache or the publisher of its events cannot be as the options say.
expected<void> spawn_engine_actors(supervisor_actor::pointer self, const engine_options& options,
                                   engine_actors& engine);

/// Spawns the stages and workers of a new epoch, and tells the executor. Workers load their weights when they start, so
/// this returns at once; steps wait in their mailboxes.
void spawn_stages(supervisor_actor::pointer self, const engine_options& options, engine_actors& engine);

/// Ends its stages and workers.
void end_stages(supervisor_actor::pointer self, engine_actors& engine, const caf::error& reason);

/// Ends all of them.
void end_engine_actors(supervisor_actor::pointer self, engine_actors& engine, const caf::error& reason);

} // namespace troupe
