// A worker that has no blocks and computes nothing: what it does with a step is its owner's.
#pragma once

#include <functional>

#include "actors/interfaces.hpp"

namespace troupe::bench {

struct worker_without_memory_state {
  worker_without_memory_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.
  static inline const char* name = "worker";
};

using worker_pointer = worker_actor::stateful_pointer<worker_without_memory_state>;
using step_function = std::function<void(worker_pointer, const step_ptr&)>;

inline worker_actor::behavior_type worker_without_memory(worker_pointer self, step_function take_step) {
  return {
    [](rows_atom, std::uint64_t, std::uint64_t) {}, // It is alone in its pipeline.
    [](sampled_atom, const step_tokens&) {},
    [](attach_atom, const chain_actor&, const chain_actor&) {},
    [=](step_atom, const step_ptr& step) { take_step(self, step); },
    [](read_atom, const std::vector<block_place>&) -> expected<block_contents> {
      return fail(errc::unsupported, "This worker has no memory.");
    },
    [](write_atom, const block_contents&) -> expected<nothing> {
      return fail(errc::unsupported, "This worker has no memory.");
    },
    [](info_atom) -> expected<worker_info> {
      worker_info info;
      info.device = "none";
      info.backend = "none";
      return info;
    },
  };
}

} // namespace troupe::bench
