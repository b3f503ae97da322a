#include "actors/engine_actors.hpp"

#include <algorithm>

#include "actors/endpoint.hpp"
#include "actors/executor.hpp"
#include "actors/scheduler.hpp"
#include "actors/stage.hpp"

namespace troupe {

void complete(engine_options& options) {
  auto& plan = options.plan;
  plan.context_length = options.source->program.context_length;
  if (plan.groups.empty())
    plan.groups = {{options.kv_blocks, 0}};
  plan.stages = options.stages;
  if (options.stages > 1) { // One more step than stages, so that the first need not wait for the planner.
    const bool overlap = options.max_steps_in_flight > 1;
    options.max_steps_in_flight = std::max(options.max_steps_in_flight, options.stages + (overlap ? 1 : 0));
    plan.steps_ahead = overlap ? options.max_steps_in_flight : 1;
  }
  plan.steps_ahead = std::min(plan.steps_ahead, options.max_steps_in_flight);
  options.cache.groups = plan.groups;
  options.cache.tier.enabled = static_cast<bool>(options.open_tier);
  options.cache.events = options.events.has_value() || options.engines > 1; // The router chooses by them.
  if (options.events)
    for (const auto& group : plan.groups)
      options.events->format.windows.push_back(group.window);
}

std::uint32_t context_length_of(engine_options options) {
  complete(options);
  return longest_sequence(options.plan);
}

namespace {

using supervisor_pointer = supervisor_actor::pointer;

worker_actor spawn_worker(supervisor_pointer self, const engine_options& given, const engine_actors& engine,
                          const worker_seat& seat) {
  const bool reports = seat.rank == 0 && seat.stage + 1 == given.stages;
  auto observed_by = who_want_parts(given.observed_by);
  if (engine.door) {
    worker_job job;
    job.door = engine.door->socket;
    job.port = engine.door->port;
    job.seat = seat;
    job.vocabulary = given.source->program.vocabulary;
    job.width = given.source->program.width;
    job.kv_groups = given.plan.groups.size();
    job.reports = reports;
    job.times = !observed_by.empty();
    job.device = given.processes->device;
    return self->spawn(process_worker,
                       process_worker_options{*given.processes, std::move(job), engine.door->actor,
                                              engine.tree.executor, engine.index, std::move(observed_by)});
  }
  worker_options options;
  options.seat = seat;
  options.vocabulary = given.source->program.vocabulary;
  options.width = given.source->program.width;
  options.kv_groups = given.plan.groups.size();
  options.results = engine.tree.executor;
  options.reports = reports;
  options.engine = engine.index;
  options.observed_by = std::move(observed_by);
  if (given.make_rank)
    options.make_backend = [seat, make = given.make_rank]() -> expected<std::unique_ptr<backend>> {
      auto group = seat.join();
      if (!group)
        return tl::unexpected(group.error());
      return make(seat, std::move(*group));
    };
  else
    options.make_backend = given.make_backend;
  if (given.spawn_worker)
    return given.spawn_worker(self, std::move(options));
  return given.detached_workers ? self->spawn<caf::detached>(worker, std::move(options))
                                : self->spawn(worker, std::move(options));
}

/// The workers of one stage, which share its layers.
expected<void> spawn_stage(supervisor_pointer self, const engine_options& options, engine_actors& engine,
                           std::uint32_t stage_index) {
  worker_seat seat;
  seat.engine = engine.index;
  seat.stage = stage_index;
  seat.stages = options.stages;
  seat.epoch = engine.epochs;
  seat.shards = options.rank_shards;
  if (stage_index > 0)
    seat.rows_in = engine.channels[stage_index - 1].address();
  if (!engine.channels.empty())
    seat.channel = engine.channels.front().shape();
  std::shared_ptr<shared_group> group;
  if (seat.shards.size() > 1) {
    auto made = shared_group::create({.shards = seat.shards, .epoch = seat.epoch});
    if (!made)
      return tl::unexpected(made.error());
    group = std::make_shared<shared_group>(std::move(*made));
    seat.group = group->address();
  }
  std::vector<worker_actor> workers;
  for (seat.rank = 0; seat.rank < seat.shards.size(); ++seat.rank) {
    // All ranks have the same rows, so the first gives them.
    seat.rows_out =
      seat.rank == 0 && stage_index < engine.channels.size() ? engine.channels[stage_index].address() : "";
    workers.push_back(spawn_worker(self, options, engine, seat));
  }
  engine.tree.workers.insert(engine.tree.workers.end(), workers.begin(), workers.end());
  engine.stages.push_back(
    in_place_of<stage_actor>(self->spawn(stage, std::move(workers), std::move(group)), options.between.stage));
  return {};
}

/// What joins them: rows of as many steps as may be in flight.
expected<void> make_channels(const engine_options& options, engine_actors& engine) {
  // The old ones are still there meanwhile, so that the new ones have other addresses: who comes late to an old epoch finds nobody.
  std::vector<row_channel> channels;
  const row_channel_shape shape{options.max_steps_in_flight, options.plan.max_batched_tokens,
                                options.source->program.width};
  for (std::uint32_t s = 1; s < options.stages; ++s) {
    auto made = row_channel::create(shape);
    if (!made)
      return tl::unexpected(made.error());
    channels.push_back(std::move(*made));
  }
  engine.channels = std::move(channels);
  return {};
}

/// Each stage tells the next one of rows, and the last one the first of tokens: its first rank does.
void chain_stages(supervisor_pointer self, const engine_options& options, const engine_actors& engine) {
  const auto ranks = options.rank_shards.size();
  for (std::size_t s = 0; options.stages > 1 && s < options.stages; ++s) {
    const bool last = s + 1 == options.stages;
    self->send(engine.tree.workers[s * ranks], attach_atom::value,
               last ? chain_actor() : chain_actor(engine.stages[s + 1]), chain_actor(engine.stages.front()));
  }
}

/// Those which the KV-cache manager works with, where the options want them.
expected<void> spawn_cache_partners(supervisor_pointer self, const engine_options& options, engine_actors& engine) {
  auto& partners = engine.partners;
  partners.executor = engine.tree.executor;
  partners.log = options.log;
  if (options.open_tier)
    engine.tree.kv_tier = partners.tier = options.detached_workers
                                            ? self->spawn<caf::detached>(kv_tier, options.open_tier)
                                            : self->spawn(kv_tier, options.open_tier);
  if (!options.events)
    return {};
  auto events = *options.events;
  events.format.rank = engine.index;
  events.endpoint = endpoint_of_engine(events.endpoint, engine.index);
  if (!events.replay_endpoint.empty())
    events.replay_endpoint = endpoint_of_engine(events.replay_endpoint, engine.index);
  auto publisher = spawn_kv_events(self->system(), std::move(events));
  if (!publisher)
    return tl::unexpected(publisher.error());
  partners.publisher = publisher->actor;
  return {};
}

} // namespace

bool engine_actors::has(const caf::actor_addr& actor) const {
  return tree.scheduler.address() == actor || tree.kv_cache.address() == actor || tree.executor.address() == actor;
}

void spawn_stages(supervisor_pointer self, const engine_options& options, engine_actors& engine) {
  engine.tree.workers.clear();
  engine.stages.clear();
  ++engine.epochs;
  if (auto made = make_channels(options, engine); !made)
    return self->send(engine.tree.executor, fail_atom::value, made.error());
  for (std::uint32_t s = 0; s < options.stages; ++s)
    if (auto spawned = spawn_stage(self, options, engine, s); !spawned)
      return self->send(engine.tree.executor, fail_atom::value, spawned.error());
  chain_stages(self, options, engine);
  self->send(engine.tree.executor, replace_atom::value, engine.stages);
}

expected<void> spawn_engine_actors(supervisor_pointer self, const engine_options& options, engine_actors& engine) {
  auto store = kv_store::make(options.cache);
  if (!store)
    return tl::unexpected(store.error());
  auto& tree = engine.tree;
  tree.executor = self->spawn<caf::monitored>(executor, supervisor_actor(self), engine.index, options.observed_by);
  if (auto spawned = spawn_cache_partners(self, options, engine); !spawned)
    return spawned;
  const auto& between = options.between;
  auto partners = engine.partners; // The tier itself is ours to stop.
  if (partners.tier)
    partners.tier = in_place_of(partners.tier, between.kv_tier);
  tree.kv_cache = self->spawn<caf::monitored>(kv_cache, std::move(*store), std::move(partners));
  tree.scheduler =
    self->spawn<caf::monitored>(scheduler, options.plan, in_place_of(tree.kv_cache, between.kv_cache),
                                in_place_of(tree.executor, between.executor), options.max_steps_in_flight);
  spawn_stages(self, options, engine);
  return {};
}

void end_stages(supervisor_pointer self, engine_actors& engine, const caf::error& reason) {
  for (const auto& stage : engine.stages)
    self->send_exit(stage, reason);
  for (const auto& worker : engine.tree.workers)
    self->send_exit(worker, reason);
  engine.stages.clear();
  engine.tree.workers.clear();
}

void end_engine_actors(supervisor_pointer self, engine_actors& engine, const caf::error& reason) {
  auto& tree = engine.tree;
  self->send_exit(tree.scheduler, reason);
  self->send_exit(tree.executor, reason);
  self->send_exit(tree.kv_cache, reason);
  self->send_exit(engine.partners.tier, reason);
  self->send_exit(engine.partners.publisher, reason);
  engine.partners = {};
  end_stages(self, engine, reason);
  tree = {};
  engine.door.reset();
}

} // namespace troupe
