// One random walk of the planner among partners that do whatever they may, in any order that they may, watched by a
// naive model (naive_planner.hpp), a manager that checks every operation (naive_kv_manager.hpp) or the real store
// (store_kv_manager.hpp), and a worker that reads every block back (naive_device.hpp).
#pragma once

#include "tests/engine/naive_device.hpp"
#include "tests/engine/naive_kv_manager.hpp"
#include "tests/engine/naive_planner.hpp"
#include "tests/engine/store_kv_manager.hpp"
#include "tests/engine/walk_random.hpp"
#include "tests/engine/walk_trace.hpp"

namespace troupe::test {

class planner_walk {
public:
  explicit planner_walk(std::uint32_t seed)
      : any_(seed), options_(random_options(any_)), depth_(any_.between(1, 4)), clients_(any_.between(1, 20)),
        planner_(options_), model_(options_) {
    make_manager(seed);
    make_device();
    trace_.options(options_);
  }

  void go() {
    for (auto events = any_.between(50, 500); events > 0; --events) {
      event();
      check();
    }
    come_to_an_end();
  }

  std::uint64_t steps() const { return steps_; }
  std::uint64_t tokens() const { return tokens_; }
  planner_counts counts() const { return planner_.counts(); }

private:
  /// Two of three walks check each operation, the others have the real store.
  void make_manager(std::uint32_t seed) {
    const auto late_percent = any_.percent(50) ? 0 : any_.between(5, 60);
    if (seed % 3 != 0) {
      manager_ = std::make_unique<naive_kv_manager>(
        options_.groups, seed, late_percent,
        naive_kv_manager::partners{[this](sequence_id id) -> truth& { return model_.at(id).right; },
                                   [this](sequence_id id) { return model_.at(id).deepest; }});
      return;
    }
    const auto full =
      std::count_if(options_.groups.begin(), options_.groups.end(), [](auto& g) { return g.window == 0; });
    manager_ = std::make_unique<store_kv_manager>(
      options_.groups, seed, full == 1 && late_percent > 0,
      store_kv_manager::device_access{[this]() -> naive_device& { return *device_; }, [this] { return resets_; }});
  }

  void make_device() {
    device_ = std::make_unique<naive_device>(
      options_.groups, naive_device::partners{[this](sequence_id id) -> truth& { return model_.at(id).right; },
                                              [this](sequence_id id, std::size_t group, std::size_t index,
                                                     block_id b) { return may_use(id, group, index, b); }});
  }

  /// A fork of which the manager has not heard reads its parent's blocks.
  bool may_use(sequence_id id, std::size_t group, std::size_t index, block_id b) {
    const auto& s = model_.at(id);
    return manager_->may_use(id, group, index, b) ||
           (s.forks_now && !manager_->has_account(id) && manager_->may_use(s.request.fork_of, group, index, b));
  }

  void event() {
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

  // Clients.

  sequence_id somebody() { return next_id_ > 1 ? any_.between(1, static_cast<std::uint32_t>(next_id_) - 1) : 1; }

  void add() {
    auto request = random_request(any_, options_, next_id_);
    const auto choices = any_.percent(20) ? any_.between(2, 4) : 1;
    for (std::uint32_t choice = 0; choice < choices; ++choice) {
      auto one = request;
      one.id = next_id_++;
      if (choice > 0) {
        auto sampling = std::make_shared<sequence_sampling>(*request.sampling);
        sampling->choice = choice;
        one.sampling = sampling;
        one.fork_of = request.id;
      }
      const auto refusal = model_.refusal(one);
      auto slot = planner_.add(one, now_);
      trace_.request(one, slot.has_value());
      must(slot.has_value() == (refusal == errc::none), one.id, "was refused, or not, against what was expected");
      must(slot.has_value() || slot.error().code == refusal, one.id, "was refused for another reason");
      if (slot)
        model_.add(one, *slot, now_);
    }
  }

  void cancel() {
    const auto id = somebody();
    if (any_.percent(50))
      return;
    const bool there = model_.alive(id);
    must(planner_.remove(id) == there, id, "could be removed, or not, against what was expected");
    trace_("remove", id, there ? "" : "(unknown)");
    if (there)
      model_.remove(id);
  }

  void pause_or_resume() {
    const auto id = somebody();
    const bool there = model_.alive(id), pause = any_.percent(40);
    must((pause ? planner_.pause(id) : planner_.resume(id)) == there, id, "could be paused or resumed unexpectedly");
    trace_(pause ? "pause" : "resume", id, there ? "" : "(unknown)");
    if (there)
      model_.at(id).paused = pause;
  }

  void grant_credit() {
    const auto id = somebody();
    const bool there = model_.alive(id);
    const auto tokens = any_.percent(10) ? unlimited_credit : any_.below(15);
    must(planner_.grant_credit(id, tokens) == there, id, "could be granted credit unexpectedly");
    trace_("credit for", id, tokens, there ? "" : "(unknown)");
    if (there)
      model_.grant(id, tokens);
  }

  void propose() {
    for (const auto& [id, s] : model_.all()) {
      if (!s->joined || any_.percent(30))
        continue;
      const auto index = static_cast<std::uint32_t>(s->answer.size()) + (any_.percent(90) ? 0 : any_.below(3));
      std::vector<token_id> drafts;
      for (auto count = any_.below(7); count > 0; --count)
        drafts.push_back(any_.percent(80) ? s->right.token(s->prompt_tokens() + index + drafts.size())
                                          : static_cast<token_id>(any_.below(vocabulary)));
      if (!planner_.propose(id, index, drafts))
        continue;
      trace_(drafts.size(), "drafts for", id);
      drafts.resize(std::min<std::size_t>(drafts.size(), s->request.max_drafts));
      model_.proposed(id, index, std::move(drafts));
    }
  }

  // Steps.

  void plan() {
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

  void device_works() {
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

  void deliver_result() {
    if (results_.empty())
      return;
    const auto result = std::move(results_.front());
    results_.pop_front();
    take(result);
    if (any_.percent(5))
      take(result); // Twice is once.
  }

  void take(const step_result& result) {
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
      const bool wants = model_.at(is.sequence).request.sampling->logprobs >= 0;
      must(wants ? is.logprob && is.logprob->token == is.token : !is.logprob, is.sequence, "has wrong logprobs");
    }
    for (const auto& event : planner_.prompt_logprobs()) {
      auto& next = told_logprobs_.try_emplace(event.sequence, 1).first->second;
      must(event.position == next, event.sequence, "has its prompt's logprobs not once and in order");
      for (const auto& logprob : event.tokens)
        must(logprob.token == model_.at(event.sequence).right.token(next++), event.sequence,
             "has another's logprobs");
    }
    tokens_ += events->size();
  }

  void reset() {
    trace_("reset");
    planner_.reset(++epoch_);
    ++resets_;
    model_.reset();
    sent_.clear(); // The worker is dead. What it had computed, and grants, still arrive.
    make_device();
  }

  // Blocks.

  void send_report() {
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

  void manager_works() {
    if (reports_.empty())
      return;
    grants_.push_back(manager_->process(reports_.front()));
    reports_.pop_front();
    manager_->check();
  }

  void deliver_grant() {
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

  /// Since the last reset no report has been sent: grants that arrive are void.
  bool reset_unreported() const { return resets_ != generation_; }

  void decide_late() {
    if (auto decided = manager_->decide_late())
      hits_.push_back(std::move(*decided));
    if (manager_->blocks_came_free())
      planner_.blocks_came_free();
  }

  void deliver_hit() {
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

  void check() {
    model_.observe();
    must(planner_.check_integrity());
    const auto counts = planner_.counts();
    must(counts.running <= options_.max_sequences, "more sequences run than may");
    must(counts.steps_in_flight == model_.steps_in_flight(), "the steps in flight are not counted right");
    must(counts.running + counts.waiting >= model_.alive(), "a sequence is not counted");
    must(counts.wasted_rows <= model_.wasted_rows(), "more rows are said to be wasted than were");
  }

  // The end: clients want everything, and everybody does what is to be done.

  bool settle() {
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

  void come_to_an_end() {
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
  }

  void run_until_nothing_moves() {
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

  bool late_lookups() {
    decide_late();
    return !hits_.empty() || !manager_->nothing_waits();
  }

  walk_trace trace_;
  dice any_;
  planner_options options_;
  std::size_t depth_, clients_;
  planner planner_;
  naive_planner model_;
  std::unique_ptr<kv_partner> manager_;
  std::unique_ptr<naive_device> device_;
  std::deque<step_changes> sent_;
  std::deque<step_result> results_;
  std::deque<kv_report> reports_;
  std::deque<kv_grant> grants_;
  std::deque<std::pair<kv_hit, std::uint32_t>> hits_;
  std::map<sequence_id, std::uint32_t> told_logprobs_; ///< The next position that is to be told.
  sequence_id next_id_ = 1;
  engine_time now_ = 0;
  std::uint64_t epoch_ = 0, steps_ = 0, tokens_ = 0;
  std::uint32_t generation_ = 0, resets_ = 0;
  bool report_open_ = false;
};

} // namespace troupe::test
