#include "engine/planner.hpp"

#include <algorithm>
#include <cassert>
#include <string>

namespace troupe {

namespace {

constexpr std::uint32_t blocks_for(std::uint32_t tokens) {
  return (tokens + tokens_per_block - 1) / tokens_per_block;
}

std::uint32_t saturating_add(std::uint32_t a, std::uint32_t b) {
  return b > unlimited_credit - a ? unlimited_credit : a + b;
}

} // namespace

planner::planner(planner_options options) : options_(std::move(options)) {
  const auto capacity = std::uint64_t{options_.total_blocks} * tokens_per_block;
  options_.context_length = static_cast<std::uint32_t>(std::min<std::uint64_t>(options_.context_length, capacity));
}

expected<void> planner::add(new_sequence request) {
  if (request.prompt.empty())
    return fail(errc::invalid_argument, "The prompt is empty: it has no token to go on from.");
  if (request.prompt.size() >= options_.context_length)
    return fail(errc::context_overflow, "The prompt has " + std::to_string(request.prompt.size()) +
                                          " tokens, but prompt and answer together "
                                          "may have " +
                                          std::to_string(options_.context_length) +
                                          " here: shorten it, or serve with more KV memory.");
  auto s = std::make_unique<sequence>();
  s->prompt_tokens = static_cast<std::uint32_t>(request.prompt.size());
  s->request = std::move(request);
  waiting_.push_back(s.get());
  all_.emplace(s->request.id, std::move(s));
  return {};
}

bool planner::remove(sequence_id id) {
  auto found = all_.find(id);
  if (found == all_.end() || found->second->removed)
    return false;
  if (found->second->in_flight)
    found->second->removed = true;
  else
    drop(*found->second);
  return true;
}

bool planner::grant_credit(sequence_id id, std::uint32_t tokens) {
  auto found = all_.find(id);
  if (found == all_.end())
    return false;
  auto& credit = found->second->request.credit;
  credit = saturating_add(credit, tokens);
  return true;
}

// A full purse covers any one step: every row may begin a block only once in `tokens_per_block`, or once a sequence.
std::uint32_t planner::purse_target() const {
  return std::min(options_.total_blocks, options_.max_batched_tokens / tokens_per_block + options_.max_sequences);
}

bool planner::plannable(const sequence& s) const {
  return !s.in_flight && s.request.credit > 0;
}

std::optional<step_changes> planner::plan() {
  step_changes step;
  auto budget = options_.max_batched_tokens;
  plan_running(budget, step);
  plan_waiting(budget, step);
  if (step.rows.empty())
    return std::nullopt;
  step.epoch = epoch_;
  step.step = ++next_step_;
  step.snapshot = std::exchange(snapshot_, false);
  step.left = std::exchange(left_, {});
  auto& members = steps_[step.step];
  for (const auto& rows : step.rows)
    members.push_back(rows.sequence);
  return step;
}

void planner::plan_running(std::uint32_t& budget, step_changes& step) {
  bool lacking = false;
  for (auto* s : running_) {
    if (budget == 0)
      return;
    if (plannable(*s) && !schedule(*s, 0, budget, step))
      lacking = true;
  }
  // If more blocks are on their way, those without one wait for the next step. Otherwise somebody gives some up; they
  // come back into the purse through the manager.
  if (lacking && no_block_is_coming())
    if (auto* victim = pick_victim())
      preempt(*victim);
}

void planner::plan_waiting(std::uint32_t& budget, step_changes& step) {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    if (budget == 0)
      return;
    auto& s = **next;
    if (!plannable(s)) { // It waits for its client's credit and holds up nobody.
      ++next;
      continue;
    }
    const bool full = running_.size() >= options_.max_sequences;
    // A block for each running sequence stays in the purse, so that a newcomer does not push one out at once.
    if (!full && schedule(s, static_cast<std::uint32_t>(running_.size()), budget, step)) {
      running_.push_back(&s);
      next = waiting_.erase(next);
      continue;
    }
    // Those who run keep their place, but those who only hold one, for want of credit, do not.
    auto* victim = pick_victim();
    if (!victim || victim->request.credit > 0 || (!full && !no_block_is_coming()))
      return;
    preempt(*victim);
    next = waiting_.begin();
  }
}

bool planner::schedule(sequence& s, std::uint32_t reserve, std::uint32_t& budget, step_changes& step) {
  const auto count = std::min(s.length() - s.computed, budget);
  const auto have = static_cast<std::uint32_t>(s.blocks.size());
  const auto need = blocks_for(s.computed + count);
  const auto more = need > have ? need - have : 0;
  if (more + reserve > purse_.size())
    return false;
  if (!s.known_to_worker) {
    step.joined.push_back({s.request.id, s.request.sampling});
    s.known_to_worker = true;
    s.worker_has_last = false;
  }
  if (more > 0) {
    blocks_appended appended{s.request.id, 0, {purse_.end() - more, purse_.end()}};
    purse_.resize(purse_.size() - more);
    s.blocks.insert(s.blocks.end(), appended.blocks.begin(), appended.blocks.end());
    report_.assigned.push_back(appended);
    step.appended.push_back(std::move(appended));
  }
  step_rows rows;
  rows.sequence = s.request.id;
  rows.first_position = s.computed;
  rows.count = count;
  rows.samples = s.computed + count == s.length();
  const auto given = rows.samples && s.worker_has_last ? count - 1 : count;
  const auto first = s.tokens().begin() + s.computed;
  rows.tokens.assign(first, first + given);
  s.computed += count;
  s.in_flight = true;
  budget -= count;
  step.rows.push_back(std::move(rows));
  return true;
}

bool planner::no_block_is_coming() const {
  return short_of_blocks_ && !report_on_its_way_ && report_.released.empty();
}

planner::sequence* planner::pick_victim() const {
  sequence* last = nullptr;
  for (auto* s : running_) {
    if (s->in_flight || s->blocks.empty())
      continue;
    const bool paused = s->request.credit == 0;
    if (!last || paused || last->request.credit != 0)
      last = s;
  }
  return last;
}

void planner::preempt(sequence& victim) {
  forget_computed(victim);
  running_.erase(std::find(running_.begin(), running_.end(), &victim));
  waiting_.push_front(&victim);
  ++preemptions_;
}

void planner::forget_computed(sequence& s) {
  // Blocks that the manager has not heard of go straight back into the purse; it takes the others.
  std::size_t unreported = 0;
  std::erase_if(report_.assigned, [&](const blocks_appended& entry) {
    if (entry.sequence != s.request.id)
      return false;
    purse_.insert(purse_.end(), entry.blocks.begin(), entry.blocks.end());
    unreported += entry.blocks.size();
    return true;
  });
  if (unreported < s.blocks.size())
    report_.released.push_back(s.request.id);
  if (s.known_to_worker)
    left_.push_back(s.request.id);
  s.blocks.clear();
  s.computed = 0;
  s.known_to_worker = false;
  s.worker_has_last = false;
}

void planner::drop(sequence& s) {
  forget_computed(s);
  std::erase(running_, &s);
  std::erase(waiting_, &s);
  all_.erase(s.request.id);
}

std::optional<finish_reason> planner::finish_of(const sequence& s, token_id token) const {
  const auto& ends = options_.end_tokens;
  if (!s.request.ignore_eos && std::find(ends.begin(), ends.end(), token) != ends.end())
    return finish_reason::stop;
  if (s.length() - s.prompt_tokens >= s.request.max_tokens || s.length() >= options_.context_length)
    return finish_reason::length;
  return std::nullopt;
}

std::vector<token_event> planner::take(const step_result& result) {
  std::vector<token_event> events;
  auto found = steps_.find(result.step);
  if (result.epoch != epoch_ || found == steps_.end())
    return events; // From before a reset, or twice.
  for (auto id : found->second)
    all_.at(id)->in_flight = false;
  for (const auto& sampled : result.sampled) {
    auto& s = *all_.at(sampled.sequence);
    if (s.removed)
      continue;
    assert(sampled.position == s.length());
    token_event event{sampled.sequence, s.length() - s.prompt_tokens, sampled.token, {}};
    s.tokens().push_back(sampled.token);
    s.worker_has_last = true;
    if (s.request.credit != unlimited_credit)
      --s.request.credit;
    event.finished = finish_of(s, sampled.token);
    s.removed = event.finished.has_value();
    events.push_back(event);
  }
  for (auto id : found->second)
    if (auto& s = *all_.at(id); s.removed)
      drop(s);
  steps_.erase(found);
  return events;
}

void planner::reset(std::uint64_t epoch) {
  epoch_ = epoch;
  snapshot_ = true;
  steps_.clear();
  std::vector<sequence*> again;
  for (auto* s : std::exchange(running_, {})) {
    s->in_flight = false;
    forget_computed(*s);
    if (s->removed)
      drop(*s);
    else
      again.push_back(s);
  }
  waiting_.insert(waiting_.begin(), again.begin(), again.end());
  left_.clear(); // The snapshot says it all.
}

std::optional<kv_report> planner::take_report() {
  if (report_on_its_way_)
    return std::nullopt;
  const bool wants = purse_.size() < purse_target() && !(short_of_blocks_ && report_.released.empty());
  if (report_.assigned.empty() && report_.released.empty() && !wants)
    return std::nullopt;
  report_.purse_target = purse_target();
  report_on_its_way_ = true;
  return std::exchange(report_, {});
}

void planner::grant(kv_grant blocks) {
  report_on_its_way_ = false;
  short_of_blocks_ = blocks.short_of_blocks;
  purse_.insert(purse_.end(), blocks.blocks.begin(), blocks.blocks.end());
}

planner_counts planner::counts() const {
  planner_counts result;
  result.waiting = static_cast<std::uint32_t>(waiting_.size());
  result.running = static_cast<std::uint32_t>(running_.size());
  for (auto* s : running_)
    result.paused += s->request.credit == 0;
  result.steps_in_flight = static_cast<std::uint32_t>(steps_.size());
  result.purse = static_cast<std::uint32_t>(purse_.size());
  result.preemptions = preemptions_;
  return result;
}

expected<void> planner::check_integrity() const {
  auto broken = [](sequence_id id, const char* what) {
    return fail(errc::internal, "Sequence " + std::to_string(id) + " " + what + ".");
  };
  if (running_.size() + waiting_.size() != all_.size())
    return fail(errc::internal, "A sequence is in no queue, or in two.");
  if (running_.size() > options_.max_sequences)
    return fail(errc::internal, "More sequences run than may.");
  std::vector<block_id> seen = purse_;
  for (const auto& [id, s] : all_) {
    if (s->computed > s->length())
      return broken(id, "has more computed tokens than tokens");
    if (s->blocks.size() != blocks_for(s->computed))
      return broken(id, "has not as many blocks as its computed tokens fill");
    if (s->length() > options_.context_length)
      return broken(id, "is longer than the context");
    seen.insert(seen.end(), s->blocks.begin(), s->blocks.end());
  }
  for (auto* s : waiting_)
    if (s->computed != 0 || s->in_flight)
      return broken(s->request.id, "waits, but has something computed or in flight");
  std::sort(seen.begin(), seen.end());
  if (std::adjacent_find(seen.begin(), seen.end()) != seen.end())
    return fail(errc::internal, "A block is in two places.");
  return {};
}

} // namespace troupe
