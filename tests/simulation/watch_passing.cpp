// What passes between the actors of an engine.
#include "tests/simulation/engine_watch.hpp"
#include "tests/simulation/story.hpp"

namespace troupe::simulated {

void engine_watch::saw_report(caf::message& m) {
  if (is<attach_atom>(m)) {
    auto hits = link("hits", place::late_hits, [this](auto& message) { saw_late_hit(message); });
    hits.arrived = [this](const caf::message& message) {
      if (is<hit_atom>(message))
        loading_.erase(message.get_as<kv_hit>(1).sequence);
    };
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
  const auto& grant = m.get_as<kv_grant>(0);
  for (bool last = false; !last && !reports_.empty(); reports_.pop_front()) {
    last = reports_.front().generation == grant.generation;
    ledger_.apply(reports_.front());
    if (reports_.front().reset)
      loading_.clear();
    for (const auto& lookup : reports_.front().lookups)
      loading_.insert(lookup.sequence);
  }
  for (const auto& hit : grant.hits)
    loading_.erase(hit.sequence);
  for (const auto& hit : grant.hits)
    figures_.hit_tokens += hit.tokens;
  ledger_.grant(grant);
}

void engine_watch::saw_late_hit(caf::message& m) {
  if (!is<hit_atom>(m))
    return;
  ++figures_.late_hits;
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
    if (!ledger_.ended(result.step))
      return; // It has come before.
    ++figures_.results;
    for (auto count : result.accepted)
      accepted_ += count;
  } else if (is<reset_atom>(m)) {
    ++figures_.resets;
    epoch_ = m.get_as<std::uint64_t>(1);
    ledger_.reset_steps();
  } else if (is<fail_atom>(m)) {
    epoch_ = std::numeric_limits<std::uint64_t>::max();
    ledger_.reset_steps();
  }
}

/// Blocks between the device and a tier.
void engine_watch::saw_to_stage(caf::message& m) {
  if (is<read_atom>(m))
    for (const auto& block : m.get_as<std::vector<block_place>>(1))
      ledger_.read_for_tier(block.group, block.block);
  else if (is<write_atom>(m))
    for (const auto& content : m.get_as<block_contents>(1))
      ledger_.written_by_tier(content.place.group, content.place.block);
}

void engine_watch::saw_to_router(caf::message& m) {
  if (is<leave_atom>(m)) // With one engine no request moves: one that would keeps its ticket until it has ended.
    open_.erase(m.get_as<ticket>(1).id);
}

void engine_watch::saw_from_router(caf::message& m) {
  if (!m.match_elements<expected<admitted_request>>())
    return;
  const auto& answer = m.get_as<expected<admitted_request>>(0);
  if (!answer)
    return;
  if (facts_.drained)
    broken("a request was admitted after the engine had been drained.");
  if (!dead_.count(asking_))
    open_[answer->granted.id] = asking_;
}

/// A worker tells the executor what has become of a step.
passage engine_watch::saw_outcome(caf::message& m) {
  if (!is<result_atom>(m))
    return passage::once;
  if (auto& outcome = m.get_mutable_as<step_outcome>(2); outcome && plan_.answers.real_worker)
    outcome->compute_ms = 0.5; // Not what the machine took for it, or no seed would replay.
  if (stage_link_ && world_.random().below(1000) < plan_.cut_per_mille)
    std::exchange(stage_link_, nullptr)->cut(true);
  return world_.random().below(100) < plan_.double_percent ? passage::twice : passage::once;
}

void engine_watch::saw_to_scheduler(caf::message& m) {
  if (is<add_atom>(m))
    return saw_add(m);
  if (is<flow_atom>(m))
    return saw_flow(m.get_as<flow_change>(1));
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
  }
}

void engine_watch::saw_flow(const flow_change& change) {
  for (std::uint32_t i = 0; i < change.sequences; ++i)
    sequences_[change.first + i].paused = change.paused;
  for (const auto& share : change.credit) {
    auto& credit = sequences_[change.first + share.choice].credit;
    credit = std::min<std::uint64_t>(unlimited_credit, credit + share.tokens);
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
  s.prompt = added.prompt;
  queued_.emplace(added.id, &s);
  if (world_.random().below(100) < plan_.draft_percent) {
    added.max_drafts = static_cast<std::uint16_t>(world_.random().between(1, 5));
    s.drafted = true;
  }
}

void engine_watch::saw_to_stream(caf::message& m) {
  if (!is<tokens_atom>(m))
    return;
  const auto& events = m.get_as<stream_events>(1);
  for (const auto& event : events.tokens) {
    auto& s = sequences_[event.sequence];
    if (s.finished)
      broken("sequence " + std::to_string(event.sequence) + " has another token after its last one.");
    if (event.index != s.tokens)
      broken("token " + std::to_string(event.index) + " of sequence " + std::to_string(event.sequence) +
             " came where " + std::to_string(s.tokens) + " was due.");
    if (event.token != no_token && ++s.tokens > s.credit && s.credit < unlimited_credit)
      broken("sequence " + std::to_string(event.sequence) + " has more tokens than credit.");
    if (event.finished) {
      s.finished = true;
      leaving_.insert(event.sequence);
    } else if (s.drafted) {
      s.answer.push_back(event.token);
      draft_late(event.sequence, s);
    }
  }
  for (const auto& failed : events.failures) {
    auto& s = sequences_[failed.sequence];
    if (std::exchange(s.finished, true))
      broken("sequence " + std::to_string(failed.sequence) + " fails after its last token.");
    queued_.erase(failed.sequence);
    leaving_.insert(failed.sequence);
  }
}

} // namespace troupe::simulated
