// Bugs, planted from outside: what is done to messages on their way, by the name of the link. Links call it before they
// show a message to those who check (as if the sender had the bug) or after (as if the receiver had it).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "actors/interfaces.hpp"
#include "tests/simulation/link.hpp"

namespace troupe::simulated {

/// The places where messages can be tampered with.
enum class place {
  kv_report,  ///< Scheduler to KV-cache manager.
  kv_grant,   ///< And its answer.
  late_hits,  ///< Manager to scheduler: hits, blocks that came free.
  steps,      ///< Scheduler to executor.
  results,    ///< Executor to scheduler: results, resets, failures.
  stage_step, ///< Executor to stage.
  stage_result, ///< Worker to executor.
  to_scheduler, ///< Streams to scheduler: add, remove, credit.
  to_stream,    ///< Scheduler to streams: tokens.
  to_client,    ///< Streams to clients.
  to_router,    ///< Streams to router.
  from_router,  ///< And its answers.
  to_tier,      ///< KV-cache manager to tier.
  from_tier,    ///< And its answers.
};

struct mischief {
  using tampering = std::function<passage(simulation&, caf::message&)>;
  std::map<place, tampering> before, after;
  std::function<void(simulation&, const actor_tree&)> at_start; ///< For a bug that speaks to an actor by itself.

  static passage apply(const std::map<place, tampering>& all, place where, simulation& world, caf::message& message) {
    auto found = all.find(where);
    return found == all.end() ? passage::once : found->second(world, message);
  }
};

} // namespace troupe::simulated
