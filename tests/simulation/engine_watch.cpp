#include "tests/simulation/engine_watch.hpp"

#include "tests/simulation/story.hpp"

namespace troupe::simulated {

namespace {

/// An actor's state, for whoever runs in its thread. Valid as long as the actor lives.
template <class State, class Handle>
State* state_of(const Handle& actor) {
  using impl = std::remove_pointer_t<typename Handle::template stateful_pointer<State>>;
  return &dynamic_cast<impl&>(*caf::actor_cast<caf::abstract_actor*>(actor)).state;
}

} // namespace

engine_watch::engine_watch(simulation& world, const world_plan& plan, world_facts& facts,
                           std::shared_ptr<fake_device> device, const mischief& bugs)
    : world_(world), plan_(plan), facts_(facts), device_(std::move(device)), bugs_(bugs),
      ledger_(plan.groups, [this](const std::string& what) { broken(what); }) {}

// --- links ------------------------------------------------------------------------------------------------------------

std::function<passage(caf::message&)> engine_watch::passing(const char* name, place where, looking look) {
  return [this, name, where, look = std::move(look)](caf::message& m) {
    const auto before = mischief::apply(bugs_.before, where, world_, m);
    if (before == passage::lost)
      return before;
    world_.tell([&] { return story_of(name, m); });
    look(m);
    const auto after = mischief::apply(bugs_.after, where, world_, m);
    return after == passage::once ? before : after;
  };
}

link_options engine_watch::link(const char* name, place forth, looking look) {
  return {name, plan_.link_us, passing(name, forth, std::move(look)), {}, {}, {}};
}

link_options engine_watch::link(const char* name, place forth, looking look, place back, looking look_back) {
  return {name, plan_.link_us, passing(name, forth, std::move(look)), passing(name, back, std::move(look_back)), {}, {}};
}

stand_ins engine_watch::between() {
  stand_ins result;
  result.kv_cache = [this](const kv_cache_actor& actor) {
    return make_link(world_, actor,
                     link("kv", place::kv_report, [this](auto& m) { saw_report(m); }, place::kv_grant,
                          [this](auto& m) { saw_grant(m); }));
  };
  result.executor = [this](const executor_actor& actor) {
    return make_link(world_, actor, link("steps", place::steps, [this](auto& m) { saw_steps(m); }));
  };
  result.scheduler = [this](const scheduler_actor& actor) {
    return make_link(world_, actor, link("to scheduler", place::to_scheduler, [this](auto& m) { saw_to_scheduler(m); }));
  };
  result.stage = [this](const stage_actor& actor) {
    auto options = link("stage", place::stage_step, [this](auto& m) { saw_to_stage(m); });
    if (plan_.answers.real_worker) // Its steps take their time on their way.
      options.max_delay_us = std::max(plan_.link_us, plan_.step_us);
    stage_handle_ = make_link(world_, actor, std::move(options), &stage_link_);
    return stage_handle_;
  };
  result.router = [this](const router_actor& actor) {
    auto options = link("router", place::to_router, [this](auto& m) { saw_to_router(m); }, place::from_router,
                        [this](auto& m) { saw_from_router(m); });
    options.peer = [this](const caf::strong_actor_ptr& who) { meet_stream(who); };
    return make_link(world_, actor, std::move(options));
  };
  result.tokenizer = [this](const tokenizer_actor& actor) {
    return make_link(world_, actor, {"tokenizer", plan_.link_us, {}, {}, {}, {}});
  };
  result.kv_tier = [this](const kv_tier_actor& actor) {
    meet_tier(actor);
    auto options = link("tier", place::to_tier, [](auto&) {}, place::from_tier, [](auto&) {});
    options.max_delay_us = plan_.tier->link_us;
    return make_link(world_, actor, std::move(options));
  };
  return result;
}

worker_actor engine_watch::make_worker(const worker_options& options) {
  auto outcomes = link("outcomes", place::stage_result, [](auto&) {});
  outcomes.forth = [this, look = std::move(outcomes.forth)](caf::message& m) {
    const auto fate = look(m);
    return fate == passage::once ? saw_outcome(m) : fate;
  };
  auto results = make_link(world_, options.results, std::move(outcomes));
  worker_ = plan_.answers.real_worker ? make_real_worker(world_.system(), device_, std::move(results))
                                      : make_fake_worker(world_.system(), device_, std::move(results));
  return worker_;
}

stream_actor engine_watch::linked_stream(const stream_actor& stream) {
  auto& found = streams_[stream.id()];
  if (!found) {
    found = make_link(world_, stream, link("to stream", place::to_stream, [this](auto& m) { saw_to_stream(m); }));
    caf::actor_cast<caf::abstract_actor*>(found)->attach_functor([this, id = stream.id()] { stream_died(id); });
  }
  return found;
}

/// Its sequences leave when the scheduler reads of it.
void engine_watch::stream_died(caf::actor_id stream) {
  for (auto& [id, s] : sequences_)
    if (s.stream == stream && !s.finished) {
      queued_.erase(id);
      leaving_.insert(id);
    }
}

void engine_watch::meet(const actor_tree& tree) {
  tree_ = tree;
  scheduler_ = state_of<scheduler_state>(tree.engines.front().scheduler);
  kv_ = state_of<kv_cache_state>(tree.engines.front().kv_cache);
  router_ = state_of<router_state>(tree.router);
  router_id_ = tree.router.id();
  scheduler_id_ = tree.engines.front().scheduler.id();
  kv_id_ = tree.engines.front().kv_cache.id();
  const auto attach = [this](const auto& actor, auto* engine_watch::*pointer) {
    caf::actor_cast<caf::abstract_actor*>(actor)->attach_functor([this, pointer](const caf::error& reason) {
      this->*pointer = nullptr;
      if (!facts_.stopping)
        broken("a part of it has died: " + caf::to_string(reason));
    });
  };
  attach(tree.engines.front().scheduler, &engine_watch::scheduler_);
  attach(tree.engines.front().kv_cache, &engine_watch::kv_);
  attach(tree.router, &engine_watch::router_);
}

/// It may die: nobody may notice but by the time that answers take.
void engine_watch::meet_tier(const kv_tier_actor& tier) {
  tier_handle_ = tier;
  tier_ = state_of<kv_tier_actor_state>(tier);
  tier_id_ = tier.id();
  caf::actor_cast<caf::abstract_actor*>(tier)->attach_functor([this](const caf::error&) { tier_ = nullptr; });
}

/// A stream asks the router. Its tickets are void when it dies.
void engine_watch::meet_stream(const caf::strong_actor_ptr& stream) {
  asking_ = stream->id();
  if (met_.insert(asking_).second)
    stream->get()->attach_functor([this, id = asking_](const caf::error&) {
      dead_.insert(id);
      std::erase_if(open_, [&](const auto& ticket) { return ticket.second == id; });
    });
}

void engine_watch::kill_worker() {
  if (worker_)
    caf::anon_send_exit(worker_, caf::exit_reason::kill);
}

void engine_watch::kill_tier() {
  if (tier_handle_)
    caf::anon_send_exit(tier_handle_, caf::exit_reason::unhandled_exception);
}

void engine_watch::release() {
  tree_ = {};
  scheduler_ = nullptr;
  kv_ = nullptr;
  router_ = nullptr;
  tier_ = nullptr;
  tier_handle_ = nullptr;
  worker_ = nullptr;
  streams_.clear();
  results_link_ = nullptr;
  hits_link_ = nullptr;
  stage_link_ = nullptr;
  stage_handle_ = nullptr;
}

} // namespace troupe::simulated
