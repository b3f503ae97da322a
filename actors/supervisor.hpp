#pragma once

#include <deque>

#include "actors/engine_actors.hpp"

namespace troupe {

struct supervisor_state {
  supervisor_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  engine_options options;
  shared_tokens end_tokens; ///< Of the model; every stream has them.
  router_actor router;
  std::vector<tokenizer_actor> tokenizers;
  std::optional<open_door> door;     ///< Where workers come in that are processes.
  std::deque<engine_actors> engines; ///< They stay where they are.
  std::vector<stream_actor> streams;
  std::uint64_t opened = 0;
  bool stopping = false;
  std::size_t flushing = 0; ///< Engines whose last blocks go to the tier, all requests having ended.
  caf::error reason;        ///< Of the stop.
  static inline const char* name = "supervisor";
};

/// Where workers come in that are processes: open, where the options want that; it is closed when the supervisor ends.
/// An error ends the supervisor with its sentence.
using worker_door = expected<std::optional<open_door>>;

supervisor_actor::behavior_type supervisor(supervisor_actor::stateful_pointer<supervisor_state> self,
                                           engine_options options, worker_door door);

} // namespace troupe
