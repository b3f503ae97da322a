// The rules that every step, result and report of a planner must keep. Part of naive_planner.hpp, which includes it.
#pragma once

#include "tests/engine/naive_planner.hpp"

namespace troupe::test {

inline void naive_planner::planned(const step_changes& step, std::uint64_t epoch,
                                   const std::vector<std::uint32_t>& purse) {
  must(step.epoch == epoch, "a step is of another epoch");
  must(step.step > last_step_, "steps are not numbered upwards");
  last_step_ = step.step;
  must(step.snapshot == snapshot_, "not the first step of an epoch, and it alone, is a snapshot");
  snapshot_ = false;
  must(!step.rows.empty(), "a step has no rows");
  check_budgets(step);
  const auto passed_over = passed_over_by(step, purse);
  if (options_.stages > 1)
    check_turns(step, purse);
  apply_changes(step);
  admit(step);
  auto& record = steps_.emplace_back();
  record.step = step.step;
  for (const auto& rows : step.rows)
    check_rows(step, rows, *workers_.at(rows.slot), record);
  for (const auto& joined : step.joined) // A fork: its parent's blocks are read by this step.
    if (auto& s = at(joined.sequence); s.forks_now && all_.count(s.request.fork_of)) {
      auto& parent = at(s.request.fork_of);
      ++parent.pins;
      record.pinned.push_back(&parent);
    }
  check_long_prompts(step, purse);
  for (auto* s : passed_over)
    if (s->joined)
      s->passed_over = true;
}

/// Decodes that this step leaves out while it has rows of prompts; prompts that it leaves out while another one has
/// more rows than it may have while others wait.
inline std::vector<naive_planner::sequence*> naive_planner::passed_over_by(const step_changes& step,
                                                                           const std::vector<std::uint32_t>& purse) {
  std::vector<sequence*> result;
  std::uint32_t needing = 0;
  std::set<slot_id> served;
  bool prompts = !step.joined.empty(), long_prompt = false;
  for (const auto& rows : step.rows) {
    served.insert(rows.slot);
    prompts = prompts || rows.count - rows.drafts > 1;
    long_prompt = long_prompt || rows.count - rows.drafts > std::max(1u, options_.long_prefill_tokens);
  }
  for (const auto& [slot, s] : workers_)
    if (ready_to_decode(*s))
      needing += needs_block(*s);
  const bool enough = *std::min_element(purse.begin(), purse.end()) >= needing;
  for (const auto& [slot, s] : workers_)
    if (options_.stages > 1 && ready_to_decode(*s))
      continue; // check_turns looks at those.
    else if (prompts && !served.count(slot) && ready_to_decode(*s) && (enough || !needs_block(*s)))
      result.push_back(s);
    else if (long_prompt && !served.count(slot) && may_go_on(*s) && !needs_block(*s) &&
             options_.step_budget_ms == 0 && s->request.scheduling.itl_ms == 0 &&
             s->request.sampling->prompt_logprobs < 0)
      result.push_back(s);
  return result;
}

/// Several stages: those that decode take turns. Steps are disjoint as far as tokens in flight go, no step has more
/// than its share, and nobody goes before who has waited longer. Preemptions that nobody knows of make shares smaller.
inline void naive_planner::check_turns(const step_changes& step, const std::vector<std::uint32_t>& purse) {
  std::uint32_t decoders = 0, decodes = 0, early = 0, needing = 0;
  for (const auto& [slot, s] : workers_) {
    decoders += takes_turns(*s);
    needing += ready_to_decode(*s) && needs_block(*s);
  }
  const bool enough = *std::min_element(purse.begin(), purse.end()) >= needing;
  std::set<sequence*> served;
  const sequence* latest = nullptr;
  for (const auto& rows : step.rows) {
    const auto found = workers_.find(rows.slot);
    if (found == workers_.end() || found->second->gone || !ready_to_decode(*found->second))
      continue;
    auto* s = found->second;
    ++decodes;
    early += too_soon(*s, step.step);
    served.insert(s);
    if (!latest || std::pair(latest->rows_step, latest->order) < std::pair(s->rows_step, s->order))
      latest = s;
  }
  must(decodes <= std::max(1u, (decoders + options_.stages - 1) / options_.stages), "a step has more than its share");
  if (early > 0) {
    must(steps_.size() < 2, "a step waits for a token, though the pipeline has work");
    must(early <= step.rows.size() && decodes == step.rows.size(),
         "a step waits for a token, though it has others' rows");
  }
  for (const auto& [slot, s] : workers_) {
    if (served.count(s) || !ready_to_decode(*s) || too_soon(*s, step.step) || !(enough || !needs_block(*s)))
      continue;
    must(early == 0, s->request.id, "is left out by a step that waits for others' tokens");
    const bool first = !latest || std::pair(s->rows_step, s->order) < std::pair(latest->rows_step, latest->order);
    if (first && (decodes > 0 || !step.rows.empty()))
      s->passed_over = true; // Unless it turns out to have been preempted.
  }
}

/// A prompt that has more rows than it may have while others wait took them from nobody: not from the first one that
/// waits, if there are certainly a place and blocks for it.
inline void naive_planner::check_long_prompts(const step_changes& step,
                                              const std::vector<std::uint32_t>& purse) const {
  const auto has_more = [&](const step_rows& rows) {
    return rows.count - rows.drafts > std::max(1u, options_.long_prefill_tokens);
  };
  // Who has left may have been there still when others were considered.
  if (std::none_of(step.rows.begin(), step.rows.end(), has_more) || !step.left.empty() ||
      workers_.size() >= options_.max_sequences || step.joined.size() >= options_.lookahead ||
      options_.step_budget_ms > 0 || options_.policy.kind == scheduling_policy::kind_type::deadline)
    return;
  const sequence* first = nullptr;
  std::uint64_t wanted = 0; // Blocks, and some more.
  for (const auto& [id, s] : all_) {
    if (!s->joined && s->wants_more() && (!first || s->order < first->order))
      first = s.get();
    if (s->joined)
      wanted += (s->length() + s->ahead) / tokens_per_block + 3;
  }
  if (!first || !first->ready || first->request.sampling->prompt_logprobs >= 0)
    return;
  wanted += first->length() / tokens_per_block + 3;
  for (std::size_t g = 0; g < purse.size(); ++g) {
    std::uint64_t spent = 0;
    for (const auto& appended : step.appended)
      spent += appended.group == g ? appended.count : 0;
    if (wanted > std::uint64_t{purse[g]} + available_[g] || spent >= purse[g])
      return;
  }
  must(false, first->request.id, "waits, though a prompt has more rows than it may have then");
}

inline void naive_planner::apply_changes(const step_changes& step) {
  if (step.snapshot)
    workers_.clear();
  for (auto slot : step.left) {
    auto found = workers_.find(slot);
    must(found != workers_.end(), "a slot leaves that nobody has");
    auto& s = *found->second;
    must(s.flights + s.pins == 0, s.request.id, "leaves while a step has it in");
    if (!s.gone && !s.stalled_since)
      spare_the_less_urgent(s);
    leave(s);
    workers_.erase(found);
  }
  for (const auto& joined : step.joined) {
    must(alive(joined.sequence), joined.sequence, "joins, but is gone");
    auto& s = at(joined.sequence);
    must(slot_of_.at(joined.sequence) == joined.slot, joined.sequence, "joins in another's slot");
    must(workers_.emplace(joined.slot, &s).second, joined.sequence, "joins in a slot that is taken");
    must(!s.joined, joined.sequence, "joins twice");
    must(joined.sampling == s.request.sampling && joined.prompt_tokens == s.prompt_tokens() &&
           joined.mask == s.request.mask && joined.adapter == s.request.key.adapter,
         joined.sequence, "joins with another's parameters");
    std::vector<token_id> history;
    if (s.request.sampling->needs_history()) {
      history = *s.request.prompt;
      history.insert(history.end(), s.answer.begin(), s.answer.end());
    }
    must(joined.history ? *joined.history == history : history.empty(), joined.sequence,
         "joins with a wrong history");
    s.joined = true;
    s.join_step = step.step;
    s.ready = false;
    s.forks_now = !s.answered;
    must(!s.forks_now || s.request.fork_of != 0, joined.sequence, "joins without having been looked up");
  }
  const auto gone = std::count_if(workers_.begin(), workers_.end(), [](auto& entry) { return entry.second->gone; });
  must(workers_.size() <= options_.max_sequences + static_cast<std::size_t>(gone), "more sequences run than may");
  for (const auto& appended : step.appended) {
    must(workers_.count(appended.slot) > 0, "blocks are appended for nobody");
    workers_.at(appended.slot)->entries.at(appended.group) += appended.count;
  }
}

/// Newcomers come in the order of the policy: whoever is more urgent, and could be admitted, is passed over.
inline void naive_planner::admit(const step_changes& step) {
  for (const auto& joined : step.joined)
    at(joined.sequence).skips = at(joined.sequence).doubtful_skips = 0;
  for (const auto& joined : step.joined)
    for (auto& [id, s] : all_)
      if (!s->joined && s->wants_more() && s->ready && s->order < at(joined.sequence).order)
        ++s->doubtful_skips;
}

inline void naive_planner::check_rows(const step_changes& step, const step_rows& rows, sequence& s, flight& record) {
  const auto id = s.request.id;
  const auto length = s.length() + s.ahead;
  must(!s.gone, id, "has rows, but is gone");
  must(!s.paused, id, "has rows, but is paused");
  must(rows.count > rows.drafts, id, "has no row that is no guess");
  const auto known = rows.count - rows.drafts;
  if (!s.placed) {
    s.planned = rows.first_position;
    must(s.planned == (s.forks_now ? s.prompt_tokens() - 1 : s.hit), id, "does not begin where its hit ends");
  }
  s.placed = true;
  must(rows.first_position == s.planned, id, "has rows that do not follow the ones before");
  must(rows.first_position + known <= length, id, "has rows without tokens");
  must(rows.samples == (s.generates() && rows.first_position + known == length), id,
       "samples elsewhere than after its last token");
  must(s.flights < options_.steps_ahead, id, "is in too many steps");
  must(s.request.max_drafts == 0 || s.ahead == 0, id, "has drafts, but is planned ahead");
  must(rows.drafts == 0 || (rows.samples && rows.drafts <= s.request.max_drafts), id, "has too many drafts");
  const auto tried = step.tokens.begin() + rows.offset + (rows.given() - rows.drafts);
  must(rows.drafts <= s.drafts.size() && std::equal(tried, tried + rows.drafts, s.drafts.begin()), id,
       "has drafts that nobody proposed for this place");
  s.drafts.clear();
  must(!rows.holds_last || rows.samples, id, "holds a token that is not its last");
  must(s.ahead == 0 || !rows.samples || rows.holds_last, id, "is given a token that nobody knows");
  if (rows.samples) {
    must(length + rows.drafts < s.longest(context_), id, "is to get more tokens than it may have");
    must(s.answer.size() + s.ahead + rows.drafts < s.credit, id, "is to get more tokens than it has credit for");
  }
  must(!s.spared, id, "runs on, though a more urgent one was preempted");
  s.rows_step = record.step;
  s.stalled_since = false;
  must(!s.passed_over, id, "could have gone on, but another one's prompt was served first");
  const bool wants_logprobs = s.request.sampling->prompt_logprobs >= 0;
  must(wants_logprobs || !rows.prompt_logprobs, id, "has logprobs that nobody wanted");
  s.planned = rows.first_position + known;
  s.ahead += rows.samples;
  ++s.flights;
  record.parts.push_back({&s, rows});
}

inline void naive_planner::check_budgets(const step_changes& step) const {
  std::uint64_t all = 0, logit_rows = 0;
  for (const auto& rows : step.rows) {
    all += rows.count;
    if (rows.prompt_logprobs)
      logit_rows += rows.count;
    else if (rows.samples)
      logit_rows += 1u + rows.drafts;
  }
  must(all <= options_.max_batched_tokens, "a step has more rows than it may");
  must(logit_rows <= options_.max_logit_rows, "a step wants more rows' logits than it may");
}

inline std::vector<token_event> naive_planner::expected_events(const step_result& result, std::uint64_t epoch) {
  std::vector<token_event> events;
  if (result.epoch != epoch || steps_.empty() || steps_.front().step != result.step)
    return events;
  const auto record = std::move(steps_.front());
  steps_.pop_front();
  for (auto* s : record.pinned) {
    --s->pins;
    free_slot(*s);
  }
  std::size_t sampling = 0;
  for (const auto& [who, rows] : record.parts) {
    auto& s = *who;
    const auto accepted = rows.samples && !result.accepted.empty() ? result.accepted.at(sampling) : 0u;
    sampling += rows.samples;
    --s.flights;
    s.ahead -= rows.samples;
    if (s.gone) {
      wasted_rows_ += rows.count;
      free_slot(s);
      continue;
    }
    const auto end = rows.first_position + rows.count - rows.drafts;
    for (auto i = rows.first_position; rows.prompt_logprobs && i < rows.first_position + rows.count; ++i)
      s.prompt_logprobs.insert(i + 1);
    for (std::uint32_t i = 0; rows.samples && i <= accepted && !s.gone; ++i) {
      token_event event;
      event.sequence = s.request.id;
      event.slot = slot_of_.at(event.sequence);
      event.index = static_cast<std::uint32_t>(s.answer.size());
      event.token = s.right.token(s.length());
      s.answer.push_back(event.token);
      const auto& ends = s.request.sampling->end_tokens;
      if (event.index >= s.request.sampling->min_tokens && std::count(ends.begin(), ends.end(), event.token) > 0)
        event.finished = finish_reason::stop;
      else if (s.length() == s.longest(context_))
        event.finished = finish_reason::length;
      s.finished = event.finished;
      s.gone = event.finished.has_value();
      events.push_back(event);
    }
    if (!s.generates() && end == s.prompt_tokens()) {
      s.finished = finish_reason::length;
      s.gone = true;
      events.push_back({s.request.id, slot_of_.at(s.request.id), 0, no_token, s.finished, nullptr});
    }
    s.deepest = std::max(s.deepest, std::min(end + accepted, s.length()));
    if (rows.drafts > 0)
      s.planned = end + accepted;
    free_slot(s);
  }
  return events;
}

inline void naive_planner::reported(const kv_report& report) {
  using kind = kv_operation::kind_type;
  if (report.reset)
    for (auto& [id, s] : all_)
      s->has_account = false;
  for (const auto& operation : report.operations) {
    auto& s = at(operation.sequence);
    if (operation.kind == kind::fork)
      s.has_account = true;
    if (operation.kind == kind::release) {
      s.has_account = s.answered = s.ready = false;
      s.passed_over = false;
      s.doubtful_skips = 0;
    }
  }
  for (auto& [id, s] : all_) {
    s->skips += std::exchange(s->doubtful_skips, 0);
    must(s->skips <= options_.max_skips, id, "was passed over too often");
  }
  for (const auto& lookup : report.lookups) {
    auto& s = at(lookup.sequence);
    s.has_account = true;
    s.answered = s.ready = false;
    must(!s.gone, lookup.sequence, "is looked up, but is gone");
    must(!lookup.may_hit || s.request.sampling->prompt_logprobs < 0 ||
           s.prompt_logprobs.size() + 1 >= s.prompt_tokens(),
         lookup.sequence, "may hit the cache, though its prompt's logprobs are wanted");
    must(!lookup.may_hit || s.request.sampling->pooling != pooling::mean, lookup.sequence,
         "may hit the cache, though the mean of all its rows is wanted");
    must(lookup.key == s.request.key, lookup.sequence, "is looked up under another's key");
  }
  nobody_gone_has_an_account();
}

} // namespace troupe::test
