#include "actors/admin.hpp"

#include <algorithm>

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/timeouts.hpp"

namespace troupe {

namespace {

struct admin_state {
  admin_state() = default; // Not an aggregate: CAF would initialise its first member with the actor.

  client_actor client;
  connection_id connection = 0;
  actor_tree tree;
  admin_reply reply;       ///< As far as it is known.
  std::size_t awaited = 0; ///< Answers that are still to come.
  static inline const char* name = "admin";
};

using admin_pointer = caf::stateful_actor<admin_state>*;

void answer(admin_pointer self) {
  auto& state = self->state;
  if (!state.reply.ok())
    state.reply.status.reset();
  self->send(state.client, deliver_atom::value, delivery{state.connection, {std::move(state.reply)}});
  self->quit();
}

void answer_with(admin_pointer self, error failure) {
  self->state.reply.failure = std::move(failure);
  answer(self);
}

void answer_when_all_are_there(admin_pointer self) {
  if (--self->state.awaited == 0)
    answer(self);
}

auto lost(admin_pointer self, const char* who) {
  return [=](const caf::error& reason) {
    answer_with(self, {errc::unavailable, std::string("The ") + who + " did not answer (" + caf::to_string(reason) +
                                            "): the server may be stopping."});
  };
}

/// Asks one actor; `take` puts what it says into the reply.
template <class Answer, class Actor, class Take, class... Args>
void gather(admin_pointer self, const Actor& whom, const char* who, Take take, Args&&... args) {
  ++self->state.awaited;
  ask<Answer>(
    self, whom, timeouts::bookkeeping,
    [=](Answer& answer) {
      take(self->state.reply, answer);
      answer_when_all_are_there(self);
    },
    lost(self, who), std::forward<Args>(args)...);
}

/// The same of a KV tier, where there is one. A server goes on without it, so nothing is wrong where it has died.
template <class Answer, class Take, class Atom>
void gather_from_tier(admin_pointer self, const kv_tier_actor& tier, Take take, Atom what) {
  if (!tier)
    return;
  ++self->state.awaited;
  ask<Answer>(
    self, tier, timeouts::bookkeeping,
    [=](Answer& answer) {
      take(self->state.reply, answer);
      answer_when_all_are_there(self);
    },
    [=](const caf::error&) { answer_when_all_are_there(self); }, what);
}

/// Several engines have memory each, and one folder on a disk: each counts all that is there.
void add_tier(std::vector<tier_status>& tiers, const tier_counts& layer) {
  const auto known = std::ranges::find(tiers, layer.name, &tier_status::name);
  if (known == tiers.end()) {
    tiers.push_back({layer.name, layer.blocks, layer.bytes, layer.capacity, layer.saved, layer.loaded, layer.missed,
                     layer.evicted, layer.damaged, layer.accepts});
    return;
  }
  const auto put = [&](std::uint64_t tier_status::*field, std::uint64_t more) {
    (*known).*field = layer.name == "disk" ? std::max((*known).*field, more) : (*known).*field + more;
  };
  put(&tier_status::blocks, layer.blocks);
  put(&tier_status::bytes, layer.bytes);
  put(&tier_status::capacity, layer.capacity);
  known->saved += layer.saved;
  known->loaded += layer.loaded;
  known->missed += layer.missed;
  known->evicted += layer.evicted;
  known->damaged += layer.damaged;
  known->accepts = known->accepts && layer.accepts;
}

/// Adds up what the engines have.
void gather_engine_status(admin_pointer self, const engine_tree& engine) {
  gather<planner_counts>(
    self, engine.scheduler, "scheduler",
    [](admin_reply& reply, const planner_counts& planner) {
      reply.status->waiting += planner.waiting;
      reply.status->running += planner.running;
      reply.status->paused += planner.paused;
      reply.status->preemptions += planner.preemptions;
    },
    status_atom::value);
  gather<kv_status>(
    self, engine.kv_cache, "KV-cache manager",
    [](admin_reply& reply, const kv_status& cache) {
      auto& status = *reply.status;
      for (const auto& group : cache.blocks) {
        status.kv_blocks += group.total;
        status.kv_free += group.free;
        status.kv_cached += group.cached;
        status.kv_leased += group.leased;
        status.kv_owned += group.owned;
      }
      status.prefix_queries += cache.statistics.queries;
      status.prefix_query_tokens += cache.statistics.query_tokens;
      status.prefix_hit_tokens += cache.statistics.hit_tokens;
      status.tier_hit_tokens += cache.statistics.tier_hit_tokens;
    },
    status_atom::value);
  gather<executor_status>(
    self, engine.executor, "executor",
    [alone = self->state.tree.engines.size() == 1](admin_reply& reply, const executor_status& executor) {
      auto& status = *reply.status;
      status.steps += executor.steps;
      status.restarts += executor.epoch;
      status.lost_steps += executor.lost_steps;
      status.last_recovery_ms = std::max(status.last_recovery_ms, executor.last_recovery_ms);
      if (!executor.failed)
        ++status.engines;
      else if (alone)
        reply.failure = *executor.failed;
    },
    status_atom::value);
  gather_from_tier<std::vector<tier_counts>>(
    self, engine.kv_tier,
    [](admin_reply& reply, const std::vector<tier_counts>& layers) {
      for (const auto& layer : layers)
        add_tier(reply.status->tiers, layer);
    },
    status_atom::value);
}

void gather_status(admin_pointer self) {
  const auto& tree = self->state.tree;
  self->state.reply.status.emplace();
  gather<router_status>(
    self, tree.router, "router",
    [](admin_reply& reply, const router_status& router) {
      reply.status->open_requests = router.open_requests;
      reply.status->draining = router.draining;
      reply.status->refused = router.refused;
    },
    status_atom::value);
  for (const auto& engine : tree.engines)
    gather_engine_status(self, engine);
}

void gather_checks(admin_pointer self) {
  const auto take = [](const char* who) {
    return [=](admin_reply& reply, const expected<nothing>& checked) {
      if (!checked && reply.ok())
        reply.failure = {checked.error().code, std::string("In the ") + who + ": " + checked.error().message};
    };
  };
  for (const auto& engine : self->state.tree.engines) {
    gather<expected<nothing>>(self, engine.scheduler, "scheduler", take("scheduler"), check_atom::value);
    gather<expected<nothing>>(self, engine.kv_cache, "KV-cache manager", take("KV-cache manager"), check_atom::value);
    gather_from_tier<expected<nothing>>(self, engine.kv_tier, take("KV tier"), check_atom::value);
  }
}

/// What one actor does and answers for.
void gather_done(admin_pointer self, const expected<nothing>& done) {
  if (!done)
    self->state.reply.failure = done.error();
}

void drain(admin_pointer self) {
  const auto pending = self->state.tree.router;
  ask<expected<nothing>>(
    self, pending, timeouts::drain,
    [=](expected<nothing>& done) {
      gather_done(self, done);
      answer(self);
    },
    lost(self, "router"), drain_atom::value);
}

/// Which actors know what the operator wants.
void begin_command(admin_pointer self, admin_command command) {
  switch (command) {
  case admin_command::status:
    return gather_status(self);
  case admin_command::check:
    return gather_checks(self);
  case admin_command::reset_prefix_cache:
    for (const auto& engine : self->state.tree.engines)
      gather<expected<nothing>>(
        self, engine.kv_cache, "KV-cache manager",
        [=](admin_reply&, const expected<nothing>& done) { gather_done(self, done); }, reset_atom::value);
    return;
  case admin_command::drain:
    return drain(self);
  }
}

caf::behavior admin(admin_pointer self, const supervisor_actor& supervisor, client_actor client,
                    connection_id connection, admin_request request) {
  explain_exceptions(self);
  auto& state = self->state;
  state.client = std::move(client);
  state.connection = connection;
  state.reply.nonce = request.nonce;
  ask<actor_tree>(
    self, supervisor, timeouts::bookkeeping,
    [=](actor_tree& tree) {
      // One of several may be gone for good.
      std::erase_if(tree.engines, [](const engine_tree& engine) { return !engine.scheduler; });
      self->state.tree = std::move(tree);
      begin_command(self, request.command);
    },
    lost(self, "supervisor"), tree_atom::value);
  return {[](stop_atom) {}}; // Nobody sends it anything but answers.
}

} // namespace

void answer_admin(caf::actor_system& system, supervisor_actor supervisor, client_actor client,
                  connection_id connection, admin_request request) {
  system.spawn(admin, std::move(supervisor), std::move(client), connection, request);
}

} // namespace troupe
