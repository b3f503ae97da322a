// What may be expected of a planner, said plainly: a list of sequences, what each is to get, and rules that every
// step must keep. It plans nothing; it watches steps, results and reports go by, and objects.
//
// It knows what a planner's partners can see, and so it learns of a preemption only by the step that tells the
// worker. Where that matters it suspects first and objects when the suspicion cannot be cleared any more.
#pragma once

#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "tests/engine/naive_truth.hpp"

namespace troupe::test {

class naive_planner {
public:
  struct sequence {
    new_sequence request;
    truth right;
    urgency order;
    std::uint64_t credit = 0; ///< All that was ever granted.
    bool paused = false, gone = false;
    std::vector<token_id> answer;
    std::optional<finish_reason> finished;
    // As the steps so far have it.
    bool joined = false, placed = false, admitted_before = false;
    std::uint32_t planned = 0; ///< Where its next row stands, if `placed`.
    std::uint32_t ahead = 0;   ///< Tokens that steps in flight will sample.
    std::uint32_t flights = 0, pins = 0;
    std::uint32_t hit = 0;              ///< Tokens of the last lookup's answer.
    std::uint32_t deepest = 0;          ///< The most tokens whose KV it ever had.
    std::vector<std::uint32_t> entries; ///< Of its block table, for each group.
    bool answered = false, forks_now = false;
    bool ready = false;                          ///< Answered, and not admitted since.
    bool has_account = false;                    ///< As the reports so far have it.
    std::uint32_t skips = 0, doubtful_skips = 0; ///< In doubt until a report does not say that it has no blocks.
    bool passed_over = false;                    ///< Could have had a decode where a prompt had rows.
    std::uint64_t join_step = 0, rows_step = 0;  ///< The last ones.
    bool stalled_since = false;                  ///< At some time since its last rows.
    bool spared = false;                         ///< A more urgent one was preempted, while this one ran.
    std::set<std::uint32_t> prompt_logprobs;
    std::vector<token_id> drafts; ///< Proposed for the next token and those after it.

    std::uint32_t prompt_tokens() const { return static_cast<std::uint32_t>(request.prompt->size()); }
    std::uint32_t length() const { return prompt_tokens() + static_cast<std::uint32_t>(answer.size()); }
    bool generates() const { return request.max_tokens > 0; }
    std::uint64_t longest(std::uint32_t context) const {
      return std::min<std::uint64_t>(context, std::uint64_t{prompt_tokens()} + request.max_tokens);
    }
    /// Its client does not want more now: it is the first to be preempted.
    bool stalled() const { return paused || (ahead == 0 && credit <= answer.size()); }
    bool wants_more() const { return !gone && !paused && credit > answer.size() + ahead; }
  };

  explicit naive_planner(const planner_options& options) : options_(options), available_(options.groups.size(), 0) {
    for (const auto& group : options.groups) {
      // One that slides needs what a window covers and both of its ends, however long it becomes.
      const bool slides = group.window > 0 && group.blocks >= (group.window + 15) / 16 + 2;
      if (!slides)
        context_ = std::min(context_, group.blocks * tokens_per_block);
    }
    context_ = std::min(context_, options.context_length);
  }

  /// What `add` must answer.
  errc refusal(const new_sequence& request) const {
    if (!request.prompt || request.prompt->empty())
      return errc::invalid_argument;
    return request.prompt->size() + (request.max_tokens > 0) > context_ ? errc::context_overflow : errc::none;
  }

  void add(const new_sequence& request, slot_id slot, engine_time now) {
    auto& s = *all_.emplace(request.id, std::make_unique<sequence>()).first->second;
    s.request = request;
    s.right = truth(request);
    s.order = order_of(request.scheduling, now);
    s.credit = request.credit == unlimited_credit ? no_limit : request.credit;
    s.entries.resize(options_.groups.size());
    must(slots_.emplace(slot, &s).second, request.id, "was given a slot that is taken");
    slot_of_[request.id] = slot;
  }

  sequence& at(sequence_id id) { return *all_.at(id); }
  const std::map<sequence_id, std::unique_ptr<sequence>>& all() const { return all_; }
  bool alive(sequence_id id) const { return all_.count(id) > 0 && !all_.at(id)->gone; }

  void grant(sequence_id id, std::uint32_t tokens) {
    auto& s = at(id);
    s.credit = s.credit >= no_limit - tokens || tokens == unlimited_credit ? no_limit : s.credit + tokens;
  }

  void proposed(sequence_id id, std::uint32_t index, std::vector<token_id> drafts) {
    auto& s = at(id);
    must(!s.gone && index == s.answer.size(), id, "took drafts that are void");
    s.drafts = std::move(drafts);
  }

  void remove(sequence_id id) {
    at(id).gone = true;
    free_slot(at(id));
  }

  /// A step that was planned while the purse had so many blocks.
  void planned(const step_changes& step, std::uint64_t epoch, const std::vector<std::uint32_t>& purse);

  /// Nothing was planned: then no decode that needs no block was waiting for it, but for those whose tokens would have
  /// held up a pipeline that has work.
  void planned_nothing() {
    for (auto& [id, s] : all_)
      if (ready_to_decode(*s) && !needs_block(*s) && (steps_.size() < 2 || !too_soon(*s, last_step_ + 1)))
        s->passed_over = true;
  }

  /// After whatever has happened.
  void observe() {
    for (auto& [id, s] : all_)
      s->stalled_since = s->stalled_since || s->stalled();
  }

  /// What `take` must say of this result.
  std::vector<token_event> expected_events(const step_result& result, std::uint64_t epoch);

  void reset() {
    for (auto& [id, s] : all_) {
      leave(*s);
      s->flights = s->ahead = s->pins = s->doubtful_skips = 0;
      s->answered = s->ready = s->has_account = false;
      free_slot(*s);
    }
    steps_.clear();
    available_.assign(available_.size(), 0);
    snapshot_ = true;
  }

  void granted(const kv_grant& grant) { available_ = grant.available; }

  void hit_arrived(const kv_hit& hit) {
    auto& s = at(hit.sequence);
    s.answered = s.ready = true;
    s.hit = hit.tokens;
    s.deepest = std::max(s.deepest, hit.tokens);
  }

  void reported(const kv_report& report);

  /// Nobody who is gone still has blocks when no step in flight has it, and what there is to say has been said.
  void nobody_gone_has_an_account() const {
    for (const auto& [id, s] : all_)
      must(!s->gone || !s->has_account || s->flights + s->pins > 0, id, "is gone, but its blocks are not given up");
  }

  bool something_is_plannable() const {
    for (const auto& [id, s] : all_)
      if (s->wants_more() && s->flights + s->pins == 0)
        return true;
    return false;
  }

  std::size_t alive() const {
    std::size_t result = 0;
    for (const auto& [id, s] : all_)
      result += !s->gone;
    return result;
  }

  std::uint32_t context() const { return context_; }
  std::size_t steps_in_flight() const { return steps_.size(); }
  std::uint64_t wasted_rows() const { return wasted_rows_; }

private:
  static constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

  struct part {
    sequence* who = nullptr;
    step_rows rows;
  };
  struct flight {
    std::uint64_t step = 0;
    std::vector<part> parts;
    std::vector<sequence*> pinned;
  };

  urgency order_of(const scheduling_parameters& wishes, engine_time now) {
    const auto& policy = options_.policy;
    const auto arrived = static_cast<std::int64_t>(now);
    const std::int64_t wait_ms = wishes.ttft_ms > 0 ? wishes.ttft_ms : policy.default_ttft_ms;
    ++arrivals_;
    switch (policy.kind) {
    case scheduling_policy::kind_type::first_come:
      return {0, arrivals_};
    case scheduling_policy::kind_type::priority:
      return {arrived + 1000 * std::int64_t{policy.ageing_ms} * wishes.priority, arrivals_};
    case scheduling_policy::kind_type::deadline:
      return {arrived + 1000 * wait_ms, arrivals_};
    }
    return {};
  }

  /// A slot is another's as soon as its sequence is gone and in no step.
  void free_slot(sequence& s) {
    if (s.gone && s.flights + s.pins == 0) {
      auto found = slots_.find(slot_of_.at(s.request.id));
      if (found != slots_.end() && found->second == &s)
        slots_.erase(found);
    }
  }

  void leave(sequence& s) {
    s.joined = s.placed = s.passed_over = s.forks_now = s.spared = false;
    std::fill(s.entries.begin(), s.entries.end(), 0);
  }

  bool needs_block(const sequence& s) const { return s.planned / tokens_per_block >= s.entries[0]; }

  bool may_go_on(const sequence& s) const {
    const auto most = s.request.max_drafts > 0 ? 1 : options_.steps_ahead;
    return s.joined && s.placed && s.wants_more() && s.flights + s.pins < most && s.planned < s.length() + s.ahead &&
           (s.length() + s.ahead < s.longest(context_) || !s.generates());
  }
  bool ready_to_decode(const sequence& s) const { return may_go_on(s) && s.planned + 1 == s.length() + s.ahead; }

  /// Whether a step would have to wait for this one's token, as long as the pipeline is. Those with drafts are in no
  /// more steps than there are stages.
  bool too_soon(const sequence& s, std::uint64_t step) const {
    if (options_.stages == 1 || !s.placed || s.planned + 1 != s.length() + s.ahead)
      return false;
    return s.request.max_drafts > 0 ? steps_.size() >= options_.stages
                                    : s.ahead > 0 && s.rows_step + options_.stages > step;
  }
  /// Decodes, or is about to when its steps in flight are back.
  bool takes_turns(const sequence& s) const {
    return s.joined && s.placed && !s.gone && !s.stalled() && s.planned + 1 >= s.length() + s.ahead &&
           s.length() + s.ahead < s.longest(context_);
  }

  /// Who is preempted is the least urgent of those that run. Others may be about to leave: that shows when they go
  /// on.
  void spare_the_less_urgent(const sequence& victim) {
    for (auto& [slot, s] : workers_)
      if (!s->gone && s->order > victim.order && s->join_step < victim.rows_step)
        s->spared = true;
  }

  void check_long_prompts(const step_changes& step, const std::vector<std::uint32_t>& purse) const;
  void apply_changes(const step_changes& step);
  void admit(const step_changes& step);
  void check_rows(const step_changes& step, const step_rows& rows, sequence& s, flight& record);
  void check_turns(const step_changes& step, const std::vector<std::uint32_t>& purse);
  void check_budgets(const step_changes& step) const;
  std::vector<sequence*> passed_over_by(const step_changes& step, const std::vector<std::uint32_t>& purse);

  planner_options options_;
  std::uint32_t context_ = std::numeric_limits<std::uint32_t>::max();
  std::map<sequence_id, std::unique_ptr<sequence>> all_;
  std::map<slot_id, sequence*> slots_;
  std::map<slot_id, sequence*> workers_; ///< As the worker has them.
  std::map<sequence_id, slot_id> slot_of_;
  std::deque<flight> steps_;
  std::vector<std::uint32_t> available_; ///< For each group, in the last grant.
  std::uint64_t arrivals_ = 0, last_step_ = 0, wasted_rows_ = 0;
  bool snapshot_ = true;
};

} // namespace troupe::test

#include "tests/engine/naive_planner_rules.hpp"
