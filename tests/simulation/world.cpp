#include "tests/simulation/world.hpp"

#include "actors/supervisor.hpp"
#include "tests/simulation/operator.hpp"

namespace troupe::simulated {

namespace {

constexpr std::size_t max_jobs = 200'000;

engine_options options_of(const world_plan& plan) {
  engine_options options;
  options.source = tiny();
  options.tokenizers = plan.tokenizers;
  options.max_steps_in_flight = plan.steps_in_flight;
  options.limits.max_open_requests = plan.max_open_requests;
  options.cache.prefix_caching = plan.prefix_caching;
  auto& p = options.plan;
  p.max_batched_tokens = plan.max_batched_tokens;
  p.max_sequences = plan.max_sequences;
  p.max_logit_rows = plan.max_logit_rows;
  p.groups = plan.groups;
  p.policy = plan.policy;
  p.long_prefill_tokens = plan.long_prefill_tokens;
  p.step_budget_ms = plan.step_budget_ms;
  p.steps_ahead = plan.steps_ahead;
  p.lookahead = plan.lookahead;
  p.max_skips = plan.max_skips;
  if (plan.tier) {
    options.cache.tier.max_saving = plan.tier->max_saving;
    options.cache.tier.max_loading = plan.tier->max_loading;
    options.cache.tier.max_hashes = plan.tier->max_hashes;
  }
  options.log.take = [](const log_entry&) {};
  options.detached_workers = false;
  return options;
}

class world {
public:
  world(const world_plan& plan, const mischief& bugs, tier_contents& contents)
      : plan_(plan), bugs_(bugs), tier_contents_(contents), simulation_(std::make_unique<simulation>(plan.seed)),
        device_(std::make_shared<fake_device>(*simulation_, plan)),
        watch_(*simulation_, plan, facts_, device_, bugs_), operator_(*simulation_, plan, facts_, watch_) {
    simulation_->order = plan.order;
    simulation_->after_job = [this](caf::actor_id who) { watch_.after_job(who); };
    simulation_->when_quiet = [this] { watch_.when_quiet(); };
  }

  world_report run() {
    raise_engine();
    if (simulation_->violations().empty())
      live();
    auto report = report_now();
    end();
    return report;
  }

private:
  void raise_engine() {
    auto options = options_of(plan_);
    options.between = watch_.between();
    options.plan.draft = watch_.make_drafter();
    if (plan_.tier)
      options.open_tier = simulated_tier(*simulation_, plan_, tier_figures_, tier_contents_);
    options.spawn_worker = [this](caf::local_actor*, worker_options worker) { return watch_.make_worker(worker); };
    supervisor_ = simulation_->system().spawn(supervisor, std::move(options), worker_door());
    caf::scoped_actor self(simulation_->system());
    auto asked = self->request(supervisor_, caf::infinite, tree_atom::value);
    simulation_->coordinator().run(); // The answer is there: nothing waits.
    asked.receive([&](actor_tree& tree) { tree_ = std::move(tree); },
                  [&](const caf::error& reason) { simulation_->violate("No tree: " + caf::to_string(reason)); });
    watch_.meet(tree_);
    if (bugs_.at_start)
      bugs_.at_start(*simulation_, tree_);
  }

  void live() {
    for (std::size_t i = 0; i < plan_.clients.size(); ++i)
      clients_.push_back(std::make_unique<virtual_client>(
        *simulation_, plan_.clients[i], 100 + i, facts_, plan_,
        [this](caf::message& m) { return mischief::apply(bugs_.before, place::to_client, *simulation_, m); }));
    for (auto& client : clients_)
      client->begin(supervisor_);
    if (plan_.happens != disaster::none)
      simulation_->after(plan_.happens_at, [this] { strike(); });
    operator_.begin(supervisor_);
    if (plan_.worker_killed_at)
      simulation_->after(*plan_.worker_killed_at, [this] { watch_.kill_worker(); });
    if (plan_.tier && plan_.tier->dies_at)
      simulation_->after(*plan_.tier->dies_at, [this] { watch_.kill_tier(); });
    simulation_->run(max_jobs);
    if (!simulation_->violations().empty())
      return;
    for (auto& client : clients_)
      client->check_at_the_end();
    operator_.check_at_the_end();
    watch_.check_at_the_end();
    if (simulation_->violations().empty())
      stop();
  }

  void strike() {
    facts_.stopping = true;
    const auto die = [](const auto& actor) {
      caf::anon_send_exit(actor, caf::exit_reason::unhandled_exception);
    };
    switch (plan_.happens) {
      case disaster::none: break;
      case disaster::stop: caf::anon_send(supervisor_, stop_atom::value); break;
      case disaster::scheduler_dies: die(tree_.engines.front().scheduler); break;
      case disaster::kv_cache_dies: die(tree_.engines.front().kv_cache); break;
      case disaster::executor_dies: die(tree_.engines.front().executor); break;
      case disaster::router_dies: die(tree_.router); break;
      case disaster::tokenizer_dies: die(tree_.tokenizers.front()); break;
    }
  }

  /// The tree comes down in order, and nobody is left.
  void stop() {
    facts_.stopping = true;
    tree_ = {};
    watch_.release();
    operator_.release();
    for (auto& client : clients_)
      client->kill();
    caf::anon_send(supervisor_, stop_atom::value);
    simulation_->run(max_jobs);
    if (const auto left = simulation_->system().registry().running(); left > 0)
      simulation_->violate(std::to_string(left) + " actors are still there after the stop.");
  }

  world_report report_now() {
    world_report report;
    report.seed = plan_.seed;
    report.trace = simulation_->trace();
    report.violations = simulation_->violations();
    report.jobs = simulation_->jobs();
    for (const auto& client : clients_) {
      report.endings += client->endings();
      report.tokens += client->tokens();
      report.ids_used_again += client->ids_used_again();
      report.ran_out += client->ran_out();
      report.embedded += client->embedded();
    }
    for (const auto& client : plan_.clients)
      report.requests += client.requests.size();
    report.worker_deaths = device_->deaths;
    report.steps_ahead = device_->ahead;
    report.real_workers = plan_.answers.real_worker ? device_->made : 0;
    report.drained = operator_.drained();
    report.tier = tier_figures_;
    report.figures = watch_.figures();
    return report;
  }

  /// Whatever state it is in: all die, and have been read, before those go whom they may call.
  void end() {
    facts_.stopping = true;
    simulation_->after_job = nullptr;
    simulation_->when_quiet = nullptr;
    for (auto& client : clients_) {
      client->kill();
      client->release();
    }
    operator_.release();
    caf::anon_send_exit(supervisor_, caf::exit_reason::kill);
    for (const auto& tokenizer : tree_.tokenizers)
      caf::anon_send_exit(tokenizer, caf::exit_reason::kill);
    if (tree_.router) {
      caf::anon_send_exit(tree_.router, caf::exit_reason::kill);
      caf::anon_send_exit(tree_.engines.front().scheduler, caf::exit_reason::kill);
      caf::anon_send_exit(tree_.engines.front().executor, caf::exit_reason::kill);
      caf::anon_send_exit(tree_.engines.front().kv_cache, caf::exit_reason::kill);
    }
    supervisor_ = nullptr;
    tree_ = {};
    simulation_->coordinator().run();
    watch_.release(); // It may have made links until now.
    simulation_.reset();
  }

  const world_plan& plan_;
  mischief bugs_;
  tier_contents& tier_contents_;
  world_facts facts_;
  std::unique_ptr<simulation> simulation_;
  std::shared_ptr<fake_device> device_;
  tier_figures tier_figures_;
  engine_watch watch_;
  virtual_operator operator_;
  supervisor_actor supervisor_;
  actor_tree tree_;
  std::vector<std::unique_ptr<virtual_client>> clients_;
};

} // namespace

world_report run_world(const world_plan& plan, const mischief& bugs, tier_contents* contents) {
  tier_contents own;
  return world(plan, bugs, contents ? *contents : own).run();
}

} // namespace troupe::simulated
