#include "actors/supervisor.hpp"

#include "actors/ask.hpp"
#include "actors/exceptions.hpp"
#include "actors/executor.hpp"
#include "actors/kv_cache.hpp"
#include "actors/scheduler.hpp"
#include "actors/stage.hpp"
#include "actors/stream.hpp"
#include "actors/timeouts.hpp"
#include "actors/tokenizing.hpp"

namespace troupe {

namespace {

using self_pointer = supervisor_actor::stateful_pointer<supervisor_state>;

worker_actor spawn_worker(self_pointer self, backend_factory make_backend, bool reports) {
  const auto& given = self->state.options;
  worker_options options{std::move(make_backend), given.source->program.vocabulary, given.plan.groups.size(),
                         self->state.tree.executor, reports};
  return given.spawn_worker       ? given.spawn_worker(self, std::move(options))
         : given.detached_workers ? self->spawn<caf::detached>(worker, std::move(options))
                                  : self->spawn(worker, std::move(options));
}

/// The workers of all tensor-parallel ranks, of which the first reports.
expected<std::shared_ptr<shared_group>> spawn_ranks(self_pointer self) {
  auto& state = self->state;
  const shared_group_options options{.shards = state.options.rank_shards, .epoch = ++state.groups};
  auto group = shared_group::create(options);
  if (!group)
    return tl::unexpected(group.error());
  for (unsigned rank = 0; rank < options.shards.size(); ++rank) {
    auto make = [options, rank, address = group->address(),
                 make_rank = state.options.make_rank]() -> expected<std::unique_ptr<backend>> {
      auto joined = join_shared_group(address, options, rank);
      if (!joined)
        return tl::unexpected(joined.error());
      return make_rank(rank, std::move(*joined));
    };
    state.tree.workers.push_back(spawn_worker(self, std::move(make), rank == 0));
  }
  return std::make_shared<shared_group>(std::move(*group));
}

/// A worker loads its weights when it starts, so this returns at once; steps wait in its mailbox.
void spawn_stage(self_pointer self) {
  auto& state = self->state;
  state.tree.workers.clear();
  state.tree.worker = nullptr;
  state.stage = nullptr;
  std::shared_ptr<shared_group> group;
  if (state.options.rank_shards.empty()) {
    state.tree.workers.push_back(spawn_worker(self, state.options.make_backend, true));
  } else if (auto made = spawn_ranks(self)) {
    group = std::move(*made);
  } else {
    return self->send(state.tree.executor, fail_atom::value, made.error());
  }
  state.tree.worker = state.tree.workers.front();
  state.stage = self->spawn(stage, state.tree.workers, std::move(group));
  self->send(state.tree.executor, replace_atom::value, in_place_of(state.stage, state.options.between.stage));
}

/// What the options leave open is what the model says.
void complete(engine_options& options) {
  auto& plan = options.plan;
  plan.context_length = options.source->program.context_length;
  if (plan.groups.empty())
    plan.groups = {{options.kv_blocks, 0}};
  plan.steps_ahead = std::min(plan.steps_ahead, options.max_steps_in_flight);
  options.cache.groups = plan.groups;
  options.cache.tier.enabled = static_cast<bool>(options.open_tier);
  options.cache.events = options.events.has_value();
  if (options.events)
    for (const auto& group : plan.groups)
      options.events->format.windows.push_back(group.window);
}

} // namespace

std::uint32_t context_length_of(engine_options options) {
  complete(options);
  return longest_sequence(options.plan);
}

namespace {

/// Those which the KV-cache manager works with, where the options want them.
expected<void> spawn_cache_partners(self_pointer self) {
  auto& state = self->state;
  auto& partners = state.cache_partners;
  partners.executor = state.tree.executor;
  partners.warn = state.options.warn;
  if (state.options.open_tier)
    state.tree.kv_tier = partners.tier = state.options.detached_workers
                                           ? self->spawn<caf::detached>(kv_tier, state.options.open_tier)
                                           : self->spawn(kv_tier, state.options.open_tier);
  if (!state.options.events)
    return {};
  auto publisher = spawn_kv_events(self->system(), *state.options.events);
  if (!publisher)
    return tl::unexpected(publisher.error());
  partners.publisher = publisher->actor;
  return {};
}

/// Errors: the cache or the publisher of its events cannot be as the options say.
expected<void> spawn_tree(self_pointer self) {
  auto& state = self->state;
  auto& options = state.options;
  complete(options);
  auto store = kv_store::make(options.cache);
  if (!store)
    return tl::unexpected(store.error());
  auto& tree = state.tree;
  tree.executor = self->spawn<caf::monitored>(executor, supervisor_actor(self));
  if (auto spawned = spawn_cache_partners(self); !spawned)
    return spawned;
  const auto& between = options.between;
  auto partners = state.cache_partners; // The tier itself is ours to stop.
  if (partners.tier)
    partners.tier = in_place_of(partners.tier, between.kv_tier);
  tree.kv_cache = self->spawn<caf::monitored>(kv_cache, std::move(*store), std::move(partners));
  tree.scheduler =
    self->spawn<caf::monitored>(scheduler, options.plan, in_place_of(tree.kv_cache, between.kv_cache),
                                in_place_of(tree.executor, between.executor), options.max_steps_in_flight);
  tree.router = self->spawn<caf::monitored>(
    router, options.limits, std::vector<scheduler_actor>{in_place_of(tree.scheduler, between.scheduler)});
  for (std::uint32_t i = 0; i < std::max(1u, options.tokenizers); ++i)
    tree.tokenizers.push_back(
      self->spawn<caf::monitored>(tokenizing, options.source, longest_sequence(options.plan)));
  spawn_stage(self);
  return {};
}

void stop_the_rest(self_pointer self) {
  auto& state = self->state;
  const auto reason = caf::make_error(caf::exit_reason::user_shutdown);
  auto& tree = state.tree;
  self->send_exit(tree.router, reason);
  for (const auto& tokenizer : tree.tokenizers)
    self->send_exit(tokenizer, reason);
  self->send_exit(tree.scheduler, reason);
  self->send_exit(tree.executor, reason);
  self->send_exit(tree.kv_cache, reason);
  self->send_exit(state.cache_partners.tier, reason);
  self->send_exit(state.cache_partners.publisher, reason);
  state.cache_partners = {};
  self->send_exit(state.stage, reason);
  for (const auto& worker : tree.workers)
    self->send_exit(worker, reason);
  tree = {};
  state.stage = nullptr;
  self->quit(state.reason);
}

/// What was computed goes to the tier, if there is one, before those end who can read it from the device. Where the
/// end is a bug's, nothing is saved: blocks may hold something else than their names say.
void stop_if_streams_are_gone(self_pointer self) {
  auto& state = self->state;
  if (!state.stopping || !state.streams.empty() || state.flushing)
    return;
  const bool in_order = state.reason == caf::exit_reason::normal || state.reason == caf::exit_reason::user_shutdown;
  if (!in_order || !state.cache_partners.tier)
    return stop_the_rest(self);
  state.flushing = true;
  ask<expected<nothing>>(
    self, state.tree.kv_cache, timeouts::flush, [=](const expected<nothing>&) { stop_the_rest(self); },
    [=](const caf::error& reason) {
      warn(self->state.options.warn,
           "not all of the KV cache was saved before the end (" + caf::to_string(reason) + ").");
      stop_the_rest(self);
    },
    flush_atom::value);
}

void stop(self_pointer self, caf::error reason, const error* told = nullptr) {
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

void restart_stage(self_pointer self, const std::string& why) {
  auto& state = self->state;
  const auto now = self->clock().now();
  auto& restarts = state.restarts;
  while (!restarts.empty() && now - restarts.front() > state.options.restart_window)
    restarts.pop_front();
  if (restarts.size() >= state.options.max_restarts)
    return self->send(
      state.tree.executor, fail_atom::value,
      error{errc::unavailable, "A worker has died " + std::to_string(restarts.size() + 1) + " times within " +
                                 std::to_string(state.options.restart_window.count()) +
                                 " seconds, the last time by: " + why + ". It is not started again."});
  restarts.push_back(now);
  spawn_stage(self);
}

/// It would refuse all that comes, until somebody looked.
void stop_failed(self_pointer self, const error& why) {
  if (self->state.options.stop_when_failed)
    stop(self, caf::make_error(caf::sec::runtime_error, why.message), &why);
}

stream_actor open(self_pointer self, const client_actor& client, connection_id connection) {
  auto& state = self->state;
  const auto& tokenizers = state.tree.tokenizers;
  const auto& between = state.options.between;
  stream_context context{state.options.source,
                         in_place_of(state.tree.router, between.router),
                         in_place_of(tokenizers[state.opened++ % tokenizers.size()], between.tokenizer),
                         client,
                         connection,
                         state.options.plan.policy.kind,
                         state.end_tokens};
  auto result = self->spawn<caf::monitored>(stream, std::move(context));
  state.streams.push_back(result);
  return result;
}

void child_died(self_pointer self, const caf::down_msg& down) {
  auto& state = self->state;
  const auto is_it = [&](const auto& handle) { return handle.address() == down.source; };
  auto stream = std::find_if(state.streams.begin(), state.streams.end(), is_it);
  if (stream != state.streams.end()) {
    *stream = std::move(state.streams.back());
    state.streams.pop_back();
    return stop_if_streams_are_gone(self);
  }
  // Without any of the others nothing works; they hold no device and do not die but by a bug of ours.
  stop(self, down.reason);
}

} // namespace

supervisor_actor::behavior_type supervisor(self_pointer self, engine_options options) {
  explain_exceptions(self);
  self->state.options = std::move(options);
  self->state.end_tokens = std::make_shared<const prompt_tokens>(self->state.options.source->end_tokens());
  self->set_down_handler([=](const caf::down_msg& down) { child_died(self, down); });
  self->set_exit_handler([=](const caf::exit_msg& exit) { stop(self, exit.reason); });
  if (auto spawned = spawn_tree(self); !spawned) {
    self->quit(caf::make_error(caf::sec::bad_function_call, spawned.error().message));
    return supervisor_actor::behavior_type::make_empty_behavior();
  }
  return {
    [=](open_atom, const client_actor& client, connection_id connection) -> caf::result<stream_actor> {
      if (self->state.stopping)
        return caf::make_error(caf::sec::runtime_error, "The server is stopping.");
      return open(self, client, connection);
    },
    [=](replace_atom, const std::string& why) {
      if (!self->state.stopping)
        restart_stage(self, why);
    },
    [=](tree_atom) { return self->state.tree; },
    [=](fail_atom, const error& why) { stop_failed(self, why); },
    [=](stop_atom) { stop(self, caf::exit_reason::normal); },
  };
}

} // namespace troupe
