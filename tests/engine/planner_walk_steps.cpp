// Steps and blocks in a walk: what the planner, its worker and its manager send each other.
#include "tests/engine/planner_walk.hpp"

namespace troupe::test {

void planner_walk::plan() {
  if (model_.steps_in_flight() >= depth_)
    return;
  model_.observe();
  const auto purse = planner_.counts().purse;
  auto step = planner_.plan(now_);
  if (!step) {
    trace_("nothing planned, purse", purse.front());
    return model_.planned_nothing();
  }
  trace_.step(*step);
  ++steps_;
  model_.planned(*step, epoch_, purse);
  for (const auto& admitted : planner_.take_admissions()) {
    auto& s = model_.at(admitted.sequence);
    must(!s.admitted_before && s.joined, admitted.sequence, "is said to be admitted");
    s.admitted_before = true;
    must(admitted.cached_tokens == (s.forks_now ? s.prompt_tokens() - 1 : s.hit), admitted.sequence,
         "is said to have had another part of its prompt in the cache");
  }
  for (const auto& joined : step->joined)
    must(model_.at(joined.sequence).admitted_before, joined.sequence, "joined, but was never admitted");
  sent_.push_back(std::move(*step));
}

void planner_walk::device_works() {
  if (sent_.empty())
    return;
  const auto step = std::move(sent_.front());
  sent_.pop_front();
  auto result = device_->run(step);
  std::uint64_t rows = 0;
  for (const auto& r : step.rows)
    rows += r.count;
  result.compute_ms = any_.percent(2) ? 1000.0 : 2.0 + 0.1 * static_cast<double>(rows);
  results_.push_back(std::move(result));
}

void planner_walk::deliver_result() {
  if (results_.empty())
    return;
  const auto result = std::move(results_.front());
  results_.pop_front();
  take(result);
  if (any_.percent(5))
    take(result); // Twice is once.
}

void planner_walk::take(const step_result& result) {
  trace_.result(result);
  const auto expected_events = model_.expected_events(result, epoch_);
  const auto events = planner_.take(result);
  must(events.has_value(), "a result was refused");
  must(events->size() == expected_events.size(), "a result brought another number of tokens than expected");
  for (std::size_t i = 0; i < events->size(); ++i) {
    const auto &is = (*events)[i], &should = expected_events[i];
    must(is.sequence == should.sequence && is.slot == should.slot, should.sequence, "lacks a token");
    must(is.index == should.index && is.token == should.token, is.sequence, "has a wrong token");
    must(is.finished == should.finished, is.sequence, "has another ending than expected");
    const bool wants = is.token != no_token && model_.at(is.sequence).request.sampling->logprobs >= 0;
    must(wants ? is.logprob && is.logprob->token == is.token : !is.logprob, is.sequence, "has wrong logprobs");
  }
  for (const auto& event : planner_.prompt_logprobs()) {
    auto& next = told_logprobs_.try_emplace(event.sequence, 1).first->second;
    must(event.position == next, event.sequence, "has its prompt's logprobs not once and in order");
    for (const auto& logprob : event.tokens)
      must(logprob.token == model_.at(event.sequence).right.token(next++), event.sequence,
           "has another's logprobs");
  }
  for (const auto& event : planner_.embeddings()) {
    auto& s = model_.at(event.sequence);
    const auto right = values_of(s.right.pooled(s.request.sampling->pooling));
    must(std::equal(event.values.begin(), event.values.end(), right.begin(), right.end()), event.sequence,
         "has another embedding than its prompt's");
    must(embedded_.insert(event.sequence).second, event.sequence, "has two embeddings");
    must(s.finished.has_value(), event.sequence, "has an embedding, but has not ended");
  }
  tokens_ += events->size();
}

void planner_walk::reset() {
  trace_("reset");
  planner_.reset(++epoch_);
  ++resets_;
  model_.reset();
  sent_.clear(); // The worker is dead. What it had computed, and grants, still arrive.
  make_device();
}

void planner_walk::send_report() {
  auto report = planner_.take_report();
  if (!report)
    return;
  must(!report_open_ || report->reset, "a second report, though the first was not answered");
  trace_.report(*report);
  report_open_ = true;
  generation_ = report->generation;
  model_.reported(*report);
  reports_.push_back(std::move(*report));
}

void planner_walk::manager_works() {
  if (reports_.empty())
    return;
  grants_.push_back(manager_->process(reports_.front()));
  reports_.pop_front();
  manager_->check();
}

void planner_walk::deliver_grant() {
  if (grants_.empty())
    return;
  auto grant = std::move(grants_.front());
  grants_.pop_front();
  trace_.grant(grant);
  if (grant.generation == generation_) {
    for (const auto& hit : grant.hits)
      if (model_.alive(hit.sequence) && !reset_unreported())
        model_.hit_arrived(hit);
    report_open_ = report_open_ && reset_unreported();
    if (!reset_unreported())
      model_.granted(grant);
  }
  planner_.grant(std::move(grant));
}

void planner_walk::decide_late() {
  if (auto decided = manager_->decide_late())
    hits_.push_back(std::move(*decided));
  if (manager_->blocks_came_free())
    planner_.blocks_came_free();
}

void planner_walk::deliver_hit() {
  if (hits_.empty())
    return;
  auto [hit, generation] = std::move(hits_.front());
  hits_.pop_front();
  trace_.hit(hit);
  const bool waits = model_.alive(hit.sequence) && generation == generation_ && !reset_unreported() &&
                     !model_.at(hit.sequence).answered;
  if (waits)
    model_.hit_arrived(hit);
  must(planner_.hit(hit, generation) == waits, hit.sequence, "took a hit, or not, against what was expected");
}

} // namespace troupe::test
