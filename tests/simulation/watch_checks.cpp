// What is checked when.
#include "tests/simulation/engine_watch.hpp"

namespace troupe::simulated {

namespace {

/// Moments as the scheduler sees them differ from ours by as much as messages take.
constexpr std::int64_t blurred_us = 20000;

} // namespace

void engine_watch::count_overtaking(const sequence& scheduled) {
  for (auto& [id, other] : queued_) {
    const bool earlier = other->order.due + blurred_us <= scheduled.order.due ||
                         (plan_.policy.kind == scheduling_policy::kind_type::first_come &&
                          other->order.arrival < scheduled.order.arrival);
    if (!earlier || other->fork || other->paused || other->credit == 0 || loading_.count(id))
      continue;
    if (++other->passed_over > plan_.max_skips + plan_.max_sequences + plan_.steps_in_flight)
      broken("sequence " + std::to_string(id) + " was passed over " + std::to_string(other->passed_over) + " times.");
  }
}

void engine_watch::after_job(caf::actor_id who) {
  expected<void> ok;
  if (who == scheduler_id_ && scheduler_)
    ok = scheduler_->plan->check_integrity();
  else if (who == kv_id_ && kv_)
    ok = kv_->store->check_integrity();
  else if (who == tier_id_ && tier_ && tier_->tier)
    ok = tier_->tier->check_integrity();
  else if (who == router_id_ && router_)
    check_tickets();
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

/// The router has heard of every ticket that it has given, and not yet of every leave and death that we know of.
void engine_watch::check_tickets() {
  const auto open = router_->open->open_requests();
  if (open > plan_.max_open_requests)
    broken("more requests are open than may be.");
  if (open < open_.size())
    broken("the router has forgotten a request.");
}

void engine_watch::drained() {
  facts_.drained = true;
  if (!open_.empty())
    broken("the engine counts as drained, but " + std::to_string(open_.size()) + " requests are open.");
}

void engine_watch::check_at_the_end() {
  if (facts_.stopping || !scheduler_ || !kv_)
    return;
  const auto counts = scheduler_->plan->counts();
  figures_.preemptions = counts.preemptions;
  figures_.drafts_proposed = counts.drafts_proposed;
  figures_.drafts_accepted = counts.drafts_accepted;
  figures_.wasted_rows = counts.wasted_rows;
  const auto cache = kv_->store->statistics();
  figures_.tier_hit_tokens = cache.tier_hit_tokens;
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
  if (!open_.empty() || (router_ && router_->open->open_requests() > 0))
    broken("all requests have ended, but the router has tickets.");
  if (counts.drafts_accepted != accepted_ && !facts_.engine_failed)
    broken(std::to_string(accepted_) + " drafts were right, but the planner counts " +
           std::to_string(counts.drafts_accepted) + ".");
}

} // namespace troupe::simulated
