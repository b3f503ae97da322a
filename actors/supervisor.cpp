#include "actors/supervisor.hpp"

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/router.hpp"
#include "actors/stream.hpp"
#include "actors/timeouts.hpp"
#include "actors/tokenizing.hpp"

namespace troupe {

namespace {

using supervisor_state_pointer = supervisor_actor::stateful_pointer<supervisor_state>;

/// Its actors; the answer is its scheduler as others are to know it.
expected<scheduler_actor> spawn_engine(supervisor_state_pointer self, engine_actors& engine) {
  auto& state = self->state;
  engine.door = state.door;
  if (auto spawned = spawn_engine_actors(self, state.options, engine); !spawned)
    return tl::unexpected(spawned.error());
  engine.down = false;
  return in_place_of(engine.tree.scheduler, state.options.between.scheduler);
}

/// Errors: those of an engine.
expected<void> spawn_tree(supervisor_state_pointer self, const worker_door& door) {
  auto& state = self->state;
  auto& options = state.options;
  complete(options);
  if (!door)
    return tl::unexpected(door.error());
  state.door = *door;
  if (state.door) // However the supervisor ends.
    self->attach_functor([door = *state.door] { close_worker_door(door); });
  std::vector<scheduler_actor> schedulers;
  for (std::uint32_t i = 0; i < std::max(1u, options.engines); ++i) {
    auto& engine = state.engines.emplace_back();
    engine.index = i;
    if (auto scheduler = spawn_engine(self, engine))
      schedulers.push_back(std::move(*scheduler));
    else
      return tl::unexpected(scheduler.error());
  }
  routing_options routes;
  routes.hash = options.cache.hash;
  routes.fingerprint = options.cache.fingerprint;
  routes.group = group_to_route_by(options.plan.groups);
  state.router =
    self->spawn<caf::monitored>(router, router_options{options.limits, std::move(routes)}, std::move(schedulers));
  for (std::uint32_t i = 0; i < std::max(1u, options.tokenizers); ++i)
    state.tokenizers.push_back(
      self->spawn<caf::monitored>(tokenizing, options.source, longest_sequence(options.plan)));
  return {};
}

void stop_the_rest(supervisor_state_pointer self) {
  auto& state = self->state;
  const auto reason = caf::make_error(caf::exit_reason::user_shutdown);
  self->send_exit(state.router, reason);
  for (const auto& tokenizer : state.tokenizers)
    self->send_exit(tokenizer, reason);
  for (auto& engine : state.engines)
    end_engine_actors(self, engine, reason);
  state.router = nullptr;
  state.tokenizers.clear();
  self->quit(state.reason);
}

void flushed(supervisor_state_pointer self) {
  if (--self->state.flushing == 0)
    stop_the_rest(self);
}

/// What was computed goes to the tier, if there is one, before those end who can read it from the device. Where the
/// end is a bug's, nothing is saved: blocks may hold something else than their names say.
void stop_if_streams_are_gone(supervisor_state_pointer self) {
  auto& state = self->state;
  if (!state.stopping || !state.streams.empty() || state.flushing > 0)
    return;
  const bool in_order = state.reason == caf::exit_reason::normal || state.reason == caf::exit_reason::user_shutdown;
  for (const auto& engine : state.engines)
    state.flushing += in_order && engine.partners.tier && !engine.down;
  if (state.flushing == 0)
    return stop_the_rest(self);
  for (const auto& engine : state.engines)
    if (engine.partners.tier && !engine.down)
      ask<expected<nothing>>(
        self, engine.tree.kv_cache, timeouts::flush, [=](const expected<nothing>&) { flushed(self); },
        [=](const caf::error& reason) {
          say(self->state.options.log, log_level::warning, "kv_cache_not_saved",
              "not all of the KV cache was saved before the end (" + caf::to_string(reason) + ").");
          flushed(self);
        },
        flush_atom::value);
}

void stop(supervisor_state_pointer self, caf::error reason, const error* told = nullptr) {
  auto& state = self->state;
  if (state.stopping)
    return;
  state.stopping = true;
  state.reason = std::move(reason);
  for (const auto& stream : state.streams)
    if (told)
      self->send(stream, stop_atom::value, *told);
    else
      self->send_exit(stream, caf::exit_reason::user_shutdown);
  stop_if_streams_are_gone(self);
}

/// Whether the present message is from this engine's executor, and not from one that it had before.
bool is_from(supervisor_state_pointer self, const engine_actors& engine) {
  return caf::actor_cast<caf::actor_addr>(self->current_sender()) == engine.tree.executor.address();
}

bool may_restart(supervisor_state_pointer self, engine_actors& engine) {
  const auto now = self->clock().now();
  auto& restarts = engine.restarts;
  while (!restarts.empty() && now - restarts.front() > self->state.options.restart_window)
    restarts.pop_front();
  if (restarts.size() >= self->state.options.max_restarts)
    return false;
  restarts.push_back(now);
  return true;
}

void restart_stages(supervisor_state_pointer self, engine_actors& engine, const std::string& why) {
  auto& state = self->state;
  if (may_restart(self, engine)) {
    say(state.options.log, log_level::warning, "workers_lost",
        "the workers of engine " + std::to_string(engine.index) + " are lost, and others begin: " + why);
    return spawn_stages(self, state.options, engine);
  }
  self->send(engine.tree.executor, fail_atom::value,
             error{errc::unavailable, "A worker has died " + std::to_string(engine.restarts.size() + 1) +
                                        " times within " + std::to_string(state.options.restart_window.count()) +
                                        " seconds, the last time by: " + why + ". It is not started again."});
}

/// Its requests go on at others. With the last engine gone all that comes would be refused, until somebody looked.
void engine_failed(supervisor_state_pointer self, engine_actors& engine, const error& why) {
  auto& state = self->state;
  if (state.engines.size() > 1) // Otherwise the end of all says it.
    say(state.options.log, log_level::error, "engine_failed",
        "engine " + std::to_string(engine.index) + " has given up: " + why.message);
  engine.down = true;
  end_stages(self, engine, caf::exit_reason::kill);
  self->send(state.router, down_atom::value, engine.index, why);
  const bool all_down = std::ranges::all_of(state.engines, [](const auto& each) { return each.down; });
  if (all_down && state.options.stop_when_failed)
    stop(self, caf::make_error(caf::sec::runtime_error, why.message), &why);
}

void begin_anew(supervisor_state_pointer self, engine_actors& engine) {
  auto& state = self->state;
  auto scheduler = spawn_engine(self, engine);
  if (!scheduler)
    return engine_failed(self, engine, scheduler.error());
  self->send(state.router, up_atom::value, engine.index, *scheduler);
}

/// One of several has lost a part of it, by a bug of ours: it begins anew, and the others go on. Where it publishes its
/// blocks, a successor can only bind when the old publisher has ended.
void engine_died(supervisor_state_pointer self, engine_actors& engine, const caf::error& reason) {
  auto& state = self->state;
  const error why{errc::unavailable, "An engine has ended: " + caf::to_string(reason) + "."};
  say(state.options.log, log_level::error, "engine_died", why.message);
  const auto publisher = engine.partners.publisher;
  if (publisher)
    self->monitor(publisher);
  end_engine_actors(self, engine, caf::exit_reason::kill);
  if (!may_restart(self, engine))
    return engine_failed(self, engine, why);
  if (publisher)
    engine.ending_publisher = publisher.address();
  else
    begin_anew(self, engine);
}

stream_actor open(supervisor_state_pointer self, const client_actor& client, connection_id connection,
                  std::uint32_t max_requests) {
  auto& state = self->state;
  const auto& tokenizers = state.tokenizers;
  const auto& between = state.options.between;
  stream_context context{state.options.source,
                         in_place_of(state.router, between.router),
                         in_place_of(tokenizers[state.opened++ % tokenizers.size()], between.tokenizer),
                         client,
                         connection,
                         max_requests,
                         state.options.plan.policy.kind,
                         state.end_tokens,
                         state.options.observed_by};
  auto result = self->spawn<caf::monitored>(stream, std::move(context));
  state.streams.push_back(result);
  return result;
}

void child_died(supervisor_state_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  const auto is_it = [&](const auto& handle) { return handle.address() == down.source; };
  auto stream = std::find_if(state.streams.begin(), state.streams.end(), is_it);
  if (stream != state.streams.end()) {
    *stream = std::move(state.streams.back());
    state.streams.pop_back();
    return stop_if_streams_are_gone(self);
  }
  if (state.engines.size() > 1 && !state.stopping)
    for (auto& engine : state.engines) {
      if (engine.has(down.source))
        return engine_died(self, engine, down.reason);
      if (engine.ending_publisher == down.source) {
        engine.ending_publisher = {};
        return begin_anew(self, engine);
      }
    }
  // Without any of the others nothing works; they hold no device and do not die but by a bug of ours.
  const bool is_needed = is_it(state.router) || std::ranges::any_of(state.tokenizers, is_it) ||
                         std::ranges::any_of(state.engines, [&](const auto& each) { return each.has(down.source); });
  if (is_needed)
    stop(self, down.reason);
}

} // namespace

supervisor_actor::behavior_type supervisor(supervisor_state_pointer self, engine_options options, worker_door door) {
  explain_exceptions(self);
  self->state.options = std::move(options);
  self->state.end_tokens = std::make_shared<const prompt_tokens>(self->state.options.source->end_tokens());
  self->set_down_handler([=](const caf::down_msg& down) { child_died(self, down); });
  self->set_exit_handler([=](const caf::exit_msg& exit) { stop(self, exit.reason); });
  if (auto spawned = spawn_tree(self, door); !spawned) {
    self->quit(caf::make_error(caf::sec::bad_function_call, spawned.error().message));
    return supervisor_actor::behavior_type::make_empty_behavior();
  }
  return {
    [=](open_atom, const client_actor& client, connection_id connection,
        std::uint32_t max_requests) -> caf::result<stream_actor> {
      if (self->state.stopping)
        return caf::make_error(caf::sec::runtime_error, "The server is stopping.");
      return open(self, client, connection, max_requests);
    },
    [=](replace_atom, std::uint32_t engine, const std::string& why) {
      if (auto& which = self->state.engines.at(engine); !self->state.stopping && is_from(self, which))
        restart_stages(self, which, why);
    },
    [=](tree_atom) {
      const auto& state = self->state;
      actor_tree tree{state.router, state.tokenizers, {}};
      for (const auto& engine : state.engines)
        tree.engines.push_back(engine.tree);
      return tree;
    },
    [=](up_atom, std::uint32_t engine, std::uint64_t milliseconds) {
      if (is_from(self, self->state.engines.at(engine)))
        say(self->state.options.log, log_level::info, "workers_ready",
            "the new workers of engine " + std::to_string(engine) + " are ready after " +
              std::to_string(milliseconds) + " ms.");
    },
    [=](fail_atom, std::uint32_t engine, const error& why) {
      if (auto& which = self->state.engines.at(engine); is_from(self, which))
        engine_failed(self, which, why);
    },
    [=](stop_atom) { stop(self, caf::exit_reason::normal); },
  };
}

} // namespace troupe
