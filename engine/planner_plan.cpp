// What the next step has. Decisions are made in numbers first (`chunks_`), so that a chunk which was cut to leave rows
// to others can be stretched when they did not need them; planner_emit.cpp then writes the step.
#include <algorithm>

#include "engine/planner.hpp"
#include "engine/planner_arithmetic.hpp"

namespace troupe {

std::optional<step_changes> planner::plan(engine_time) {
  chunks_.clear();
  rows_left_ = options_.max_batched_tokens;
  logit_rows_left_ = options_.max_logit_rows;
  work_ = {};
  lacking_ = false;
  count_purse();
  ask_drafter();
  plan_running();
  if (lacking_ && no_block_is_coming())
    make_room(nullptr);
  if (!waiting_.empty())
    plan_waiting();
  if (chunks_.empty() && options_.stages > 1 && steps_.size() < 2)
    plan_turn(true);
  stretch_cut_chunks();
  if (chunks_.empty())
    return std::nullopt;
  step_changes step;
  step.epoch = epoch_;
  step.step = ++next_step_;
  step.snapshot = std::exchange(snapshot_, false);
  step.left = std::exchange(left_, {});
  step.rows.reserve(chunks_.size());
  auto& record = steps_.emplace_back();
  record.step = step.step;
  record.work = work_;
  record.members.reserve(chunks_.size());
  std::vector<member> pinned;
  for (const auto& part : chunks_)
    emit(part, step, record, pinned);
  record.members.insert(record.members.end(), pinned.begin(), pinned.end());
  return step;
}

void planner::count_purse() {
  purse_left_.clear();
  for (const auto& purse : purse_)
    purse_left_.push_back(static_cast<std::uint32_t>(purse.size()));
}

bool planner::plannable(const sequence& s) const {
  const auto most_ahead = s.request.max_drafts > 0 ? 1 : options_.steps_ahead;
  const bool has_room =
    s.answer.size() + s.ahead < s.request.max_tokens && s.length_ahead() < options_.context_length;
  return !s.leaving() && !s.paused && s.credit > 0 && s.in_flight < most_ahead && s.to_compute() > 0 &&
         (has_room || !s.generates());
}

/// Whether it decodes, now or when the step that has it in is back.
bool planner::takes_turns(const sequence& s) const {
  return !s.leaving() && !s.stalled() && s.planned + 1 >= s.length_ahead() &&
         s.answer.size() + s.ahead < s.request.max_tokens && s.length_ahead() < options_.context_length;
}

/// The token that it goes on from is computed in the latest steps: the next one would wait for these. Who wants drafts
/// is in one step at a time; these are shared among no more steps than there are stages, so that none is small.
bool planner::too_soon(const sequence& s) const {
  if (s.request.max_drafts > 0)
    return steps_.size() >= options_.stages;
  return s.ahead > 0 && s.last_step + options_.stages > next_step_ + 1;
}

// Decodes first: they are what clients wait for between two tokens. Then the rest of prompts, the most urgent first.
void planner::plan_running() {
  prefilling_.clear();
  promised_.assign(purse_.size(), 0);
  stalled_running_ = 0;
  shortest_itl_ms_ = 0;
  decoding_.clear();
  std::uint32_t decoders = 0;
  for (auto* s : running_) {
    if (s->leaving())
      continue;
    stalled_running_ += s->stalled();
    decoders += options_.stages > 1 && takes_turns(*s);
    if (s->to_compute() > 1)
      prefilling_.push_back(s);
    else if (options_.stages > 1)
      decoding_.push_back(s);
    else if (plannable(*s) && !add_decode(*s) && (!windowed_ || s->in_flight == 0))
      lacking_ = true;
  }
  if (!decoding_.empty()) {
    std::sort(decoding_.begin(), decoding_.end(), [](const sequence* a, const sequence* b) {
      return a->last_step != b->last_step ? a->last_step < b->last_step : a->order < b->order;
    });
    turn_ = std::max(1u, (decoders + options_.stages - 1) / options_.stages);
    plan_turn(false);
  }
  std::sort(prefilling_.begin(), prefilling_.end(), urgency_less());
  for (auto* s : prefilling_) {
    for (std::size_t g = 0; g < promised_.size(); ++g)
      promised_[g] += blocks_to_come(*s, g);
    if (rows_left_ > 0 && plannable(*s) && !add_prefill(*s) && (!windowed_ || s->in_flight == 0))
      lacking_ = true;
  }
}

/// One step's share of those that decode. Where there is nothing else to compute, a step that will wait for tokens is
/// better than none: it is on its way when they come.
void planner::plan_turn(bool nothing_else) {
  std::uint32_t left = turn_;
  for (auto* s : decoding_) {
    if (!s->running || !plannable(*s))
      continue;
    heed_latency(*s); // Whoever's turn it is: its next one comes after this step.
    if (left == 0 || (too_soon(*s) && !nothing_else))
      continue;
    if (add_decode(*s))
      --left;
    else if (!windowed_ || s->in_flight == 0)
      lacking_ = true;
  }
}

void planner::heed_latency(const sequence& s) {
  if (const auto itl = s.request.scheduling.itl_ms; itl > 0)
    shortest_itl_ms_ = shortest_itl_ms_ > 0 ? std::min(shortest_itl_ms_, itl) : itl;
}

bool planner::add_decode(sequence& s) {
  heed_latency(s);
  const auto drafts = s.drafts.empty() ? 0 : drafts_for(s);
  return add_chunk(s, 1 + drafts, drafts);
}

/// Rows of this sequence for which there are blocks, at least 1 in answer to 0: `add_chunk` refuses that itself.
std::uint32_t planner::rows_in_purse(const sequence& s) const {
  const auto blocks = s.blocks + *std::min_element(purse_left_.begin(), purse_left_.end());
  const auto covered = std::uint64_t{blocks} * tokens_per_block;
  const auto first = s.next_row();
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, covered > first ? covered - first : 0));
}

bool planner::add_chunk(sequence& s, std::uint32_t count, std::uint32_t drafts) {
  const auto first = s.next_row();
  const auto need = blocks_for(first + count), have = s.blocks_had();
  const auto more = need > have ? need - have : 0;
  for (auto left : purse_left_)
    if (more > left)
      return false;
  for (auto& left : purse_left_)
    left -= more;
  const bool samples = s.samples_at(first + count - drafts);
  const bool prompt_logprobs = wants_prompt_logprobs(s, first, count);
  logit_rows_left_ -= std::min(logit_rows_left_, prompt_logprobs ? count : samples ? 1 + drafts : 0);
  rows_left_ -= count;
  work_ = with_rows(work_, first, count);
  s.in_chunk = true;
  if (s.fork_parent)
    s.fork_parent->in_chunk = true; // Its blocks must stay until they have been shared.
  chunks_.push_back({&s, count, drafts, more});
  return true;
}

bool planner::wants_prompt_logprobs(const sequence& s, std::uint32_t first, std::uint32_t count) const {
  return s.request.sampling->prompt_logprobs >= 0 && first + count >= s.logprobs_told &&
         first + 1 < s.prompt_tokens && s.logprobs_told < s.prompt_tokens;
}

/// How many of `most` further rows of a prompt fit into this step by logits and by time.
std::uint32_t planner::prefill_rows(const sequence& s, std::uint32_t first, std::uint32_t most) const {
  auto rows = std::min(most, rows_left_);
  if (s.request.sampling->prompt_logprobs >= 0)
    rows = std::min(rows, logit_rows_left_);
  else if (logit_rows_left_ == 0 && s.samples_at(first + rows))
    --rows;
  auto budget_ms = options_.step_budget_ms;
  if (options_.policy.kind == scheduling_policy::kind_type::deadline && shortest_itl_ms_ > 0)
    budget_ms = budget_ms > 0 ? std::min(budget_ms, double(shortest_itl_ms_)) : shortest_itl_ms_;
  if (budget_ms <= 0)
    return rows;
  // A budget that decodes use up already would stop prompts for ever: the first one always gets a little.
  const bool first_prefill = chunks_.empty() || chunks_.back().count == 1 + chunks_.back().drafts;
  const auto least = first_prefill ? std::min(rows, tokens_per_block) : 0u;
  return std::max(least, cost_.rows_within(budget_ms, work_, first, rows));
}

bool planner::add_prefill(sequence& s) {
  const auto first = s.next_row();
  const auto todo = s.length_ahead() - first;
  const bool alone = running_.size() + waiting_.size() <= 1;
  const bool whole = alone || options_.long_prefill_tokens == 0;
  const auto most = whole ? todo : std::min(todo, options_.long_prefill_tokens);
  const auto rows = prefill_rows(s, first, most);
  if (rows == 0)
    return true; // Of this step nothing is left, but blocks are not what it lacks.
  return add_chunk(s, std::min(rows, rows_in_purse(s)), 0);
}

/// Rows that nobody else needed go to the prompts that were cut for others' sake.
void planner::stretch_cut_chunks() {
  for (auto& part : chunks_) {
    auto& s = *part.who;
    if (rows_left_ == 0)
      return;
    const auto end = s.next_row() + part.count;
    if (part.drafts > 0 || end >= s.length_ahead() || s.request.sampling->prompt_logprobs >= 0)
      continue;
    const auto have = std::uint64_t{blocks_for(end)} + *std::min_element(purse_left_.begin(), purse_left_.end());
    const auto covered = have * tokens_per_block - end;
    const auto rows =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(prefill_rows(s, end, s.length_ahead() - end), covered));
    const auto more = blocks_for(end + rows) - blocks_for(end);
    for (auto& left : purse_left_)
      left -= more;
    if (s.samples_at(end + rows))
      --logit_rows_left_;
    work_ = with_rows(work_, end, rows);
    rows_left_ -= rows;
    part.count += rows;
    part.blocks += more;
  }
}

/// Whether it waits for nothing but room: its blocks are known, or it is not to be looked up before there is room.
bool planner::ready(sequence& s) {
  if (s.fork_parent && !can_fork(s))
    leave_parent(s); // It is looked up like any other.
  return s.fork_parent || s.lookup == lookup_state::answered || (s.waits_its_turn && s.lookup == lookup_state::none);
}

bool planner::can_fork(const sequence& s) const {
  const auto& parent = *s.fork_parent;
  const auto first = s.prompt_tokens - 1;
  if (!parent.running || parent.leaving() || parent.computed < first || s.lookup != lookup_state::none ||
      s.request.sampling->prompt_logprobs >= 0 || !s.answer.empty())
    return false;
  const auto next = s.shared_blocks() * tokens_per_block; // The first row that could follow what is shared.
  for (std::size_t g = 0; g < purse_.size(); ++g) {
    const auto window = options_.groups[g].window;
    const auto oldest = window > 0 && next + 1 > window ? next + 1 - window : 0;
    if (parent.dropped[g] > oldest / tokens_per_block)
      return false;
  }
  return true;
}

/// Blocks that a sequence still needs until all its present tokens are computed.
std::uint32_t planner::blocks_to_come(const sequence& s, std::size_t group) const {
  const auto need = blocks_for(s.length_ahead()), have = s.blocks_had();
  const auto window = options_.groups[group].window;
  const auto more = need > have ? need - have : 0;
  return window == 0 ? more : std::min(more, blocks_for(window + options_.max_batched_tokens) + 1);
}

/// Whether the whole of its prompt has blocks, beside what running prompts will need and one for each that runs, so
/// that a newcomer pushes nobody out at once. Alone it always fits: `add` has seen to that.
bool planner::fits(const sequence& s) const {
  if (running_.empty())
    return true;
  const auto reserve = static_cast<std::uint32_t>(running_.size());
  for (std::size_t g = 0; g < purse_.size(); ++g)
    if (std::uint64_t{blocks_to_come(s, g)} + promised_[g] + reserve > std::uint64_t{purse_left_[g]} + available_[g])
      return false;
  return true;
}

void planner::plan_waiting() {
  passed_over_.clear();
  std::uint32_t seen = 0;
  for (auto next = waiting_.begin(); next != waiting_.end() && seen < options_.lookahead && rows_left_ > 0; ++seen) {
    auto& s = **next++;
    if (!ready(s))
      continue;
    const bool full = running_.size() >= options_.max_sequences;
    if (full || !fits(s)) {
      if (leaving_ == 0 && stalled_running_ > 0 && (full || !more_is_coming()))
        if (auto* victim = pick_victim(true)) // Who runs keeps its place, but not who only holds one.
          return preempt(*victim);
      if (full ||
          (!holders_.empty() && *holders_.rbegin() != &s && s.order < (*holders_.rbegin())->order &&
           drop_holder(&s)) ||
          s.skips >= options_.max_skips)
        return;
      passed_over_.push_back(&s);
      continue;
    }
    if (!s.fork_parent && s.lookup == lookup_state::none) { // There is room: the next report asks about it.
      if (s.skips >= options_.max_skips)
        return;
      passed_over_.push_back(&s);
      continue;
    }
    if (!add_prefill(s)) {
      if (no_block_is_coming() && running_.empty())
        make_room(&s);
      return;
    }
    if (!s.in_chunk)
      return; // The step is full, by time or by logits.
    for (std::size_t g = 0; g < promised_.size(); ++g)
      promised_[g] += blocks_to_come(s, g) - std::min(blocks_to_come(s, g), chunks_.back().blocks);
    start_running(s);
    bool enough = false;
    for (auto* other : passed_over_)
      enough = ++other->skips >= options_.max_skips || enough;
    if (enough)
      return;
  }
}

/// Blocks may come with the answer to a report, or back from steps in flight.
bool planner::more_is_coming() const {
  return report_on_its_way_ || releases_unreported_ || leaving_ > 0;
}

bool planner::no_block_is_coming() const {
  if (more_is_coming())
    return false;
  for (std::size_t g = 0; g < purse_left_.size(); ++g)
    if (purse_left_[g] == 0 && available_[g] == 0)
      return true;
  return false;
}

/// Somebody gives blocks up: first who only holds them for a start to come, then who runs. Who runs alone would give
/// them up to itself: it fits, so what it lacks is held by a transfer, and comes free when that has ended.
bool planner::make_room(const sequence* keep) {
  if (drop_holder(keep))
    return true;
  auto* victim = running_.size() > 1 ? pick_victim(false) : nullptr;
  if (!victim)
    return false;
  preempt(*victim);
  return true;
}

bool planner::drop_holder(const sequence* keep) {
  for (auto holder = holders_.rbegin(); holder != holders_.rend(); ++holder)
    if (auto* s = *holder; s != keep) {
      s->waits_its_turn = true;
      give_up_blocks(*s);
      return true;
    }
  return false;
}

/// The least urgent; one that is stalled before all others.
planner::sequence* planner::pick_victim(bool stalled_only) const {
  sequence* worst = nullptr;
  for (auto* s : running_) {
    if (s->leaving() || (stalled_only && !s->stalled()))
      continue;
    if (!worst || s->stalled() > worst->stalled() || (s->stalled() == worst->stalled() && worst->order < s->order))
      worst = s;
  }
  return worst;
}

} // namespace troupe
