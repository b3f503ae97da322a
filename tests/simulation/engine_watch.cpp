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

/// Moments as the scheduler sees them differ from ours by as much as messages take.
constexpr std::int64_t blurred_us = 20000;

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
  return {name, plan_.link_us, passing(name, forth, std::move(look)), {}, {}};
}

link_options engine_watch::link(const char* name, place forth, looking look, place back, looking look_back) {
  return {name, plan_.link_us, passing(name, forth, std::move(look)), passing(name, back, std::move(look_back)), {}};
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
    stage_handle_ = make_link(world_, actor, link("stage", place::stage_step, [](auto&) {}), &stage_link_);
    return stage_handle_;
  };
  result.router = [this](const router_actor& actor) {
    return make_link(world_, actor, {"router", plan_.link_us, {}, {}, {}});
  };
  result.tokenizer = [this](const tokenizer_actor& actor) {
    return make_link(world_, actor, {"tokenizer", plan_.link_us, {}, {}, {}});
  };
  return result;
}

worker_actor engine_watch::make_worker(const worker_options& options) {
  auto outcomes = link("outcomes", place::stage_result, [](auto&) {});
  outcomes.forth = [this, look = std::move(outcomes.forth)](caf::message& m) {
    const auto fate = look(m);
    return fate == passage::once ? saw_outcome(m) : fate;
  };
  return make_fake_worker(world_.system(), device_, make_link(world_, options.results, std::move(outcomes)));
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
  scheduler_ = state_of<scheduler_state>(tree.scheduler);
  kv_ = state_of<kv_cache_state>(tree.kv_cache);
  scheduler_id_ = tree.scheduler.id();
  kv_id_ = tree.kv_cache.id();
  const auto attach = [this](const auto& actor, auto* engine_watch::*pointer) {
    caf::actor_cast<caf::abstract_actor*>(actor)->attach_functor([this, pointer](const caf::error& reason) {
      this->*pointer = nullptr;
      if (!facts_.stopping)
        broken("a part of it has died: " + caf::to_string(reason));
    });
  };
  attach(tree.scheduler, &engine_watch::scheduler_);
  attach(tree.kv_cache, &engine_watch::kv_);
}

void engine_watch::release() {
  tree_ = {};
  scheduler_ = nullptr;
  kv_ = nullptr;
  streams_.clear();
  results_link_ = nullptr;
  hits_link_ = nullptr;
  stage_link_ = nullptr;
  stage_handle_ = nullptr;
}

// --- what passes ------------------------------------------------------------------------------------------------------

void engine_watch::saw_report(caf::message& m) {
  if (is<attach_atom>(m)) {
    auto hits = link("hits", place::late_hits, [this](auto& message) { saw_late_hit(message); });
    hits_link_ = make_link(world_, m.get_as<scheduler_actor>(1), std::move(hits));
    m.get_mutable_as<scheduler_actor>(1) = hits_link_;
  } else if (is<report_atom>(m)) {
    const auto& report = m.get_as<kv_report>(1);
    if (!reports_.empty() && reports_.back().generation == report.generation)
      broken("a second report is on its way.");
    for (const auto& operation : report.operations)
      figures_.forks += operation.kind == kv_operation::kind_type::fork && operation.group == 0;
    ledger_.sent(report);
    reports_.push_back(report);
    ++figures_.reports;
  }
}

void engine_watch::saw_grant(caf::message& m) {
  if (!m.match_elements<kv_grant>() || reports_.empty())
    return;
  ledger_.apply(reports_.front());
  reports_.pop_front();
  const auto& grant = m.get_as<kv_grant>(0);
  for (const auto& hit : grant.hits)
    figures_.hit_tokens += hit.tokens;
  ledger_.grant(grant);
}

void engine_watch::saw_late_hit(caf::message& m) {
  if (is<hit_atom>(m))
    ledger_.hit(m.get_as<kv_hit>(1));
}

void engine_watch::saw_steps(caf::message& m) {
  if (is<attach_atom>(m)) {
    auto results = link("results", place::results, [this](auto& message) { saw_failure(message); });
    results.arrived = [this](const caf::message& message) { result_arrived(message); };
    results_link_ = make_link(world_, m.get_as<scheduler_actor>(1), std::move(results));
    m.get_mutable_as<scheduler_actor>(1) = results_link_;
  } else if (is<step_atom>(m)) {
    step_sent(*m.get_as<step_ptr>(1));
  }
}

void engine_watch::step_sent(const step_changes& step) {
  ++figures_.steps;
  world_.note(step.step ^ step.epoch << 48 ^ step.rows.size() << 32 ^ step.blocks.size() << 56);
  for (const auto& joined : step.joined) {
    auto& s = sequences_[joined.sequence];
    if (!std::exchange(s.scheduled, true)) {
      queued_.erase(joined.sequence);
      if (!s.fork)
        count_overtaking(s);
    }
  }
  ledger_.sent(step);
  std::uint32_t rows = 0, logit_rows = 0;
  for (const auto& r : step.rows) {
    rows += r.count;
    logit_rows += r.prompt_logprobs ? r.count : r.samples ? 1 + r.drafts : 0;
    const auto id = ledger_.in_slot(r.slot);
    if (sequences_[id].finished)
      broken("sequence " + std::to_string(id) + " has finished, but is in a new step.");
  }
  if (rows > plan_.max_batched_tokens || step.rows.size() > plan_.max_sequences ||
      logit_rows > std::max(plan_.max_logit_rows, plan_.max_sequences))
    broken("a step is larger than may be.");
  if (step.epoch < epoch_)
    ledger_.ended(step.step); // The scheduler has not read yet that its epoch is over.
  else if (ledger_.steps_in_flight() > plan_.steps_in_flight)
    broken("more steps are in flight than may be.");
}

void engine_watch::count_overtaking(const sequence& scheduled) {
  for (auto& [id, other] : queued_) {
    const bool earlier = other->order.due + blurred_us <= scheduled.order.due ||
                         (plan_.policy.kind == scheduling_policy::kind_type::first_come &&
                          other->order.arrival < scheduled.order.arrival);
    if (!earlier || other->fork || other->paused || other->credit == 0)
      continue;
    if (++other->passed_over > plan_.max_skips + plan_.max_sequences + plan_.steps_in_flight)
      broken("sequence " + std::to_string(id) + " was passed over " + std::to_string(other->passed_over) + " times.");
  }
}

void engine_watch::saw_failure(caf::message& m) {
  if (is<fail_atom>(m))
    facts_.engine_failed = true;
}

void engine_watch::result_arrived(const caf::message& m) {
  if (is<result_atom>(m)) {
    const auto& result = m.get_as<step_result>(1);
    world_.note(result.step ^ result.sampled.size() << 32);
    if (result.epoch < epoch_)
      return broken("a result of epoch " + std::to_string(result.epoch) + " has come in epoch " +
                    std::to_string(epoch_) + ".");
    figures_.results += ledger_.ended(result.step); // It may come twice.
  } else if (is<reset_atom>(m)) {
    ++figures_.resets;
    epoch_ = m.get_as<std::uint64_t>(1);
    ledger_.reset_steps();
  } else if (is<fail_atom>(m)) {
    epoch_ = std::numeric_limits<std::uint64_t>::max();
    ledger_.reset_steps();
  }
}

/// A worker tells the executor what has become of a step.
passage engine_watch::saw_outcome(caf::message& m) {
  if (!is<result_atom>(m))
    return passage::once;
  if (stage_link_ && world_.random().below(1000) < plan_.cut_per_mille)
    std::exchange(stage_link_, nullptr)->cut(true);
  return world_.random().below(100) < plan_.double_percent ? passage::twice : passage::once;
}

void engine_watch::saw_to_scheduler(caf::message& m) {
  if (is<add_atom>(m))
    return saw_add(m);
  if (m.size() < 2 || !m.match_element<sequence_id>(1))
    return;
  const auto id = m.get_as<sequence_id>(1);
  auto& s = sequences_[id];
  if (is<remove_atom>(m)) {
    ++figures_.removals;
    queued_.erase(id);
    leaving_.insert(id);
  } else if (is<credit_atom>(m)) {
    s.credit = std::min<std::uint64_t>(unlimited_credit, s.credit + m.get_as<std::uint32_t>(2));
  } else if (is<pause_atom>(m)) {
    s.paused = true;
  } else if (is<resume_atom>(m)) {
    s.paused = false;
  }
}

void engine_watch::saw_add(caf::message& m) {
  const auto stream = m.get_as<stream_actor>(2);
  m.get_mutable_as<stream_actor>(2) = linked_stream(stream);
  auto& added = m.get_mutable_as<new_sequence>(1);
  auto& s = sequences_[added.id];
  const auto now = std::chrono::duration_cast<microseconds>(world_.now().time_since_epoch()).count();
  s.order = urgency_of(plan_.policy, added.scheduling, static_cast<engine_time>(now), ++next_order_);
  world_.tell([&] { return "sequence " + std::to_string(added.id) + " is due at " + std::to_string(s.order.due); });
  s.stream = stream.id();
  s.credit = added.credit;
  s.fork = added.fork_of != 0;
  s.sampling = added.sampling;
  queued_.emplace(added.id, &s);
  if (world_.random().below(100) < plan_.draft_percent) {
    added.max_drafts = static_cast<std::uint16_t>(world_.random().between(1, 5));
    s.next.emplace(added.sampling->seed, added.sampling->choice);
    for (auto token : *added.prompt)
      s.next->feed(token);
  }
}

void engine_watch::saw_to_stream(caf::message& m) {
  if (!is<tokens_atom>(m))
    return;
  const auto& events = m.get_as<stream_events>(1);
  for (const auto& failed : events.failures) {
    auto& s = sequences_[failed.sequence];
    if (std::exchange(s.finished, true))
      broken("sequence " + std::to_string(failed.sequence) + " fails after its last token.");
    queued_.erase(failed.sequence);
  }
  for (const auto& event : events.tokens) {
    auto& s = sequences_[event.sequence];
    if (s.finished)
      broken("sequence " + std::to_string(event.sequence) + " has another token after its last one.");
    if (event.index != s.tokens)
      broken("token " + std::to_string(event.index) + " of sequence " + std::to_string(event.sequence) +
             " came where " + std::to_string(s.tokens) + " was due.");
    if (++s.tokens > s.credit && s.credit < unlimited_credit)
      broken("sequence " + std::to_string(event.sequence) + " has more tokens than credit.");
    if (event.finished) {
      s.finished = true;
      leaving_.insert(event.sequence);
    } else if (s.next) {
      draft(event.sequence, s, event);
    }
  }
}

/// A drafter: guesses some tokens right and some not, and is late as often as not.
void engine_watch::draft(sequence_id id, sequence& s, const sequence_event& event) {
  s.next->feed(event.token);
  std::vector<token_id> guesses;
  auto model = *s.next;
  for (auto count = world_.random().between(1, 6); count > 0; --count) {
    auto token = next_token(model, *s.sampling, event.index + 1 + static_cast<std::uint32_t>(guesses.size()));
    if (world_.random().chance(20))
      token = first_plain_token + static_cast<token_id>(world_.random().below(200));
    guesses.push_back(token);
    model.feed(token);
  }
  caf::anon_send(tree_.scheduler, draft_atom::value, id, event.index + 1, std::move(guesses));
}

// --- what is checked when ---------------------------------------------------------------------------------------------

void engine_watch::after_job(caf::actor_id who) {
  expected<void> ok;
  if (who == scheduler_id_ && scheduler_)
    ok = scheduler_->plan->check_integrity();
  else if (who == kv_id_ && kv_)
    ok = kv_->store->check_integrity();
  if (!ok)
    broken(ok.error().message);
}

/// Everybody has read everything: what was asked of the engine has been done, or waits for a step.
void engine_watch::when_quiet() {
  if (facts_.stopping || leaving_.empty() || plan_.link_us > 0 || !reports_.empty())
    return;
  for (auto next = leaving_.begin(); next != leaving_.end();) {
    auto& s = sequences_[*next];
    if (!s.left_at) {
      s.left_at = figures_.results;
      s.in_flight_then = ledger_.steps_in_flight();
    }
    const auto owned = ledger_.owned_by(*next);
    if (owned > 0 && figures_.results > *s.left_at + s.in_flight_then)
      broken("sequence " + std::to_string(*next) + " has left, but has blocks still.");
    next = owned == 0 && ledger_.steps_in_flight() == 0 ? leaving_.erase(next) : std::next(next);
  }
}

void engine_watch::check_at_the_end() {
  if (facts_.stopping || !scheduler_ || !kv_)
    return;
  const auto counts = scheduler_->plan->counts();
  figures_.preemptions = counts.preemptions;
  figures_.drafts_proposed = counts.drafts_proposed;
  figures_.drafts_accepted = counts.drafts_accepted;
  figures_.wasted_rows = counts.wasted_rows;
  if (counts.waiting + counts.running + counts.steps_in_flight > 0)
    broken("all requests have ended, but the scheduler has sequences or steps.");
  const auto pools = kv_->store->counts();
  for (std::size_t g = 0; g < pools.size(); ++g)
    if (pools[g].owned > 0 || pools[g].leased != counts.purse[g])
      broken("all requests have ended, but " + std::to_string(pools[g].owned) + " blocks of group " +
             std::to_string(g) + " are owned, and " + std::to_string(pools[g].leased) + " leased.");
  if (kv_->store->sequences() > 0)
    broken("all requests have ended, but the manager has accounts.");
  ledger_.check_at_the_end();
}

} // namespace troupe::simulated
