// What happens next in a walk, what must be true after each event, and how it ends.
#include "tests/engine/planner_walk.hpp"

namespace troupe::test {

namespace {

/// One stage in half of all walks.
planner_options with_stages(planner_options options, std::uint32_t seed) {
  options.stages = seed % 2 == 0 ? 1 : 1 + seed / 2 % 3;
  return options;
}

} // namespace

planner_walk::planner_walk(std::uint32_t seed)
    : any_(seed), options_(with_stages(random_options(any_), seed)), depth_(any_.between(1, 4)),
      clients_(any_.between(1, 20)),
      planner_(options_), model_(options_) {
  make_manager(seed);
  make_device();
  trace_.options(options_);
}

void planner_walk::go() {
  for (auto events = any_.between(50, 500); events > 0; --events) {
    event();
    check();
  }
  come_to_an_end();
}

void planner_walk::make_manager(std::uint32_t seed) {
  const auto late_percent = any_.percent(50) ? 0 : any_.between(5, 60);
  if (seed % 3 != 0) {
    manager_ = std::make_unique<naive_kv_manager>(
      options_.groups, seed, late_percent,
      naive_kv_manager::partners{[this](sequence_id id) -> truth& { return model_.at(id).right; },
                                 [this](sequence_id id) { return model_.at(id).deepest; }});
    return;
  }
  manager_ = std::make_unique<store_kv_manager>(
    options_.groups, seed, late_percent > 0,
    store_kv_manager::device_access{[this]() -> naive_device& { return *device_; }, [this] { return resets_; }});
}

void planner_walk::make_device() {
  device_ = std::make_unique<naive_device>(
    options_.groups, naive_device::partners{[this](sequence_id id) -> truth& { return model_.at(id).right; },
                                            [this](sequence_id id, std::size_t group, std::size_t index,
                                                   block_id b) { return may_use(id, group, index, b); }});
}

bool planner_walk::may_use(sequence_id id, std::size_t group, std::size_t index, block_id b) {
  const auto& s = model_.at(id);
  return manager_->may_use(id, group, index, b) ||
         (s.forks_now && !manager_->has_account(id) && manager_->may_use(s.request.fork_of, group, index, b));
}

void planner_walk::event() {
  now_ += any_.below(3000);
  switch (any_.below(24)) {
  case 0:
  case 1:
    if (model_.alive() < clients_)
      add();
    return;
  case 2:
    return cancel();
  case 3:
    return pause_or_resume();
  case 4:
    return grant_credit();
  case 5:
    return propose();
  case 6:
    if (any_.percent(10))
      reset();
    return;
  case 7:
  case 8:
    return manager_works();
  case 9:
  case 10:
    return deliver_grant();
  case 11:
  case 12:
    return send_report();
  case 13:
    return decide_late();
  case 14:
    return deliver_hit();
  case 15:
  case 16:
  case 17:
    return device_works();
  case 18:
  case 19:
  case 20:
    return deliver_result();
  default:
    return plan();
  }
}

void planner_walk::check() {
  model_.observe();
  must(planner_.check_integrity());
  const auto counts = planner_.counts();
  must(counts.running <= options_.max_sequences, "more sequences run than may");
  must(counts.steps_in_flight == model_.steps_in_flight(), "the steps in flight are not counted right");
  must(counts.running + counts.waiting + counts.paused >= model_.alive(), "a sequence is not counted");
  must(counts.wasted_rows <= model_.wasted_rows(), "more rows are said to be wasted than were");
}

bool planner_walk::settle() {
  bool moved = false;
  while (!sent_.empty() || !results_.empty() || !reports_.empty() || !grants_.empty() || !hits_.empty()) {
    moved = true;
    device_works();
    deliver_result();
    manager_works();
    deliver_grant();
    decide_late();
    deliver_hit();
  }
  return moved;
}

void planner_walk::come_to_an_end() {
  const auto stuck_without_more = any_.percent(50); // First see what happens without a word from any client.
  if (stuck_without_more)
    run_until_nothing_moves();
  for (const auto& [id, s] : model_.all())
    if (!s->gone) {
      must(planner_.resume(id) && planner_.grant_credit(id, unlimited_credit), id, "is not known any more");
      s->paused = false;
      model_.grant(id, unlimited_credit);
    }
  run_until_nothing_moves();
  must(model_.alive() == 0, "not everything ends when nobody holds anything up");
  model_.nobody_gone_has_an_account();
  must(manager_->accounts() == 0, "blocks are left when all have ended");
  const auto counts = planner_.counts();
  must(counts.running == 0 && counts.waiting == 0, "somebody is left when all have ended");
  for (std::size_t g = 0; g < options_.groups.size(); ++g)
    must(manager_->leased(g) == counts.purse[g], "a leased block is lost");
  for (const auto& [id, s] : model_.all())
    if (s->finished && s->request.sampling->prompt_logprobs >= 0 && s->prompt_tokens() > 1)
      must(told_logprobs_[id] == s->prompt_tokens(), id, "lacks logprobs of its prompt");
  for (const auto& [id, s] : model_.all())
    must(embedded_.count(id) == (s->finished && s->request.sampling->pooling != pooling::none), id,
         "lacks its embedding, or has one that nobody wanted");
}

void planner_walk::run_until_nothing_moves() {
  std::uint64_t rows = 1000;
  for (const auto& [id, s] : model_.all())
    rows += s->gone ? 0 : s->longest(model_.context());
  for (auto limit = 30 * rows;; --limit) {
    must(limit > 0, "goes round in circles");
    now_ += 1000;
    const auto before = steps_;
    plan();
    send_report();
    check();
    const bool lookups = late_lookups();
    if (steps_ == before && !settle() && !lookups)
      break;
    if (any_.percent(50) || model_.steps_in_flight() >= depth_)
      settle();
  }
  must(!model_.something_is_plannable(), "somebody could go on, but nothing is planned");
  model_.nobody_gone_has_an_account();
}

bool planner_walk::late_lookups() {
  decide_late();
  return !hits_.empty() || !manager_->nothing_waits();
}

} // namespace troupe::test
