// Sequences, their queues and their blocks. What a step has is decided in planner_plan.cpp, written in
// planner_emit.cpp, and taken back in planner_take.cpp.
#include "engine/planner.hpp"

#include <algorithm>
#include <string>

#include "engine/planner_arithmetic.hpp"

namespace troupe {

namespace {

std::uint32_t saturating_add(std::uint32_t a, std::uint32_t b) {
  return b > unlimited_credit - a ? unlimited_credit : a + b;
}

/// The longest sequence that the group can hold when it is alone.
std::uint64_t capacity_of(const kv_group_options& group) {
  const bool slides = group.window > 0 && group.blocks >= blocks_for(group.window) + 2;
  return slides ? ~std::uint64_t{0} : std::uint64_t{group.blocks} * tokens_per_block;
}

} // namespace

std::uint32_t longest_sequence(const planner_options& options) {
  std::uint64_t result = options.context_length;
  for (const auto& group : options.groups)
    result = std::min(result, capacity_of(group));
  return static_cast<std::uint32_t>(result);
}

planner::planner(planner_options options) : options_(std::move(options)) {
  auto& o = options_;
  o.context_length = longest_sequence(o);
  for (const auto& group : o.groups) {
    available_.push_back(group.blocks);
    windowed_ = windowed_ || group.window > 0;
  }
  o.max_sequences = std::min(o.max_sequences, o.max_batched_tokens);
  o.max_logit_rows = std::max(o.max_logit_rows, o.max_sequences);
  o.steps_ahead = std::max(1u, o.steps_ahead);
  o.stages = std::max(1u, o.stages);
  o.lookahead = std::max(1u, o.lookahead);
  purse_.resize(o.groups.size());
  promised_.resize(o.groups.size());
}

planner::sequence* planner::find(sequence_id id) const {
  auto found = all_.find(id);
  return found != all_.end() && !found->second->removed ? found->second : nullptr;
}

expected<slot_id> planner::add(new_sequence request, engine_time now) {
  if (!request.prompt || request.prompt->empty())
    return fail(errc::invalid_argument, "The prompt is empty: it has no token to go on from.");
  if (request.prompt->size() + (request.max_tokens > 0 ? 1 : 0) > options_.context_length)
    return fail(errc::context_overflow, "The prompt has " + std::to_string(request.prompt->size()) +
                                          " tokens, but prompt and answer together may have " +
                                          std::to_string(options_.context_length) +
                                          " here: shorten it, or serve with more KV memory.");
  if (all_.count(request.id))
    return fail(errc::internal, "Sequence " + std::to_string(request.id) + " is there already.");
  const auto had = request.answer ? request.answer->size() : 0;
  if (had > 0 && (had >= request.max_tokens || request.prompt->size() + had >= options_.context_length))
    return fail(errc::internal, "Sequence " + std::to_string(request.id) + " has all its tokens already.");
  auto made = std::make_unique<sequence>();
  auto& s = *made;
  s.prompt_tokens = static_cast<std::uint32_t>(request.prompt->size());
  if (had > 0)
    s.answer = *std::exchange(request.answer, nullptr);
  s.order = urgency_of(options_.policy, request.scheduling, now, ++arrivals_);
  s.credit = request.credit;
  s.tables.resize(options_.groups.size());
  s.dropped.resize(options_.groups.size());
  s.request = std::move(request);
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<slot_id>(slots_.size()));
    slots_.emplace_back();
  }
  s.slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[s.slot] = std::move(made);
  all_.emplace(s.request.id, &s);
  if (auto* parent = s.request.fork_of ? find(s.request.fork_of) : nullptr; parent && !parent->leaving()) {
    s.fork_parent = parent;
    parent->forks.push_back(s.slot);
  }
  enqueue(s);
  return s.slot;
}

bool planner::remove(sequence_id id) {
  auto* s = find(id);
  if (!s)
    return false;
  if (s->in_flight > 0)
    leave_when_back(*s, s->removed);
  else
    drop(*s);
  return true;
}

bool planner::grant_credit(sequence_id id, std::uint32_t tokens) {
  auto* s = find(id);
  if (!s)
    return false;
  s->credit = saturating_add(s->credit, tokens);
  enqueue(*s);
  return true;
}

bool planner::pause(sequence_id id) {
  auto* s = find(id);
  if (!s)
    return false;
  s->paused = true;
  waiting_.erase(s);
  if (holders_.count(s))
    give_up_blocks(*s); // Who cannot start must not hold what others could.
  call_forks(*s);
  return true;
}

bool planner::resume(sequence_id id) {
  auto* s = find(id);
  if (!s)
    return false;
  s->paused = false;
  enqueue(*s);
  return true;
}

// Only what could be admitted stands in the queue: who waits for credit, or for the sequence that it forks from, holds
// nobody up and costs no step anything.
void planner::enqueue(sequence& s) {
  if (!s.running && !s.leaving() && !s.stalled() && !waits_for_parent(s))
    waiting_.insert(&s);
}

/// A parent that its client holds up holds up nobody else. One with a hit in the cache still has to be admitted.
bool planner::waits_for_parent(const sequence& s) const {
  const auto* parent = s.fork_parent;
  return parent && !parent->stalled() && !(parent->running && parent->computed + 1 >= s.prompt_tokens);
}

void planner::call_forks(sequence& parent) {
  for (auto slot : parent.forks)
    enqueue(*slots_[slot]);
}

void planner::start_running(sequence& s) {
  waiting_.erase(&s);
  holders_.erase(&s);
  s.running = true;
  s.skips = 0;
  s.waits_its_turn = false;
  s.place = static_cast<std::uint32_t>(running_.size());
  running_.push_back(&s);
  call_forks(s);
}

void planner::stop_running(sequence& s) {
  s.running = false;
  running_.back()->place = s.place;
  running_[s.place] = running_.back();
  running_.pop_back();
}

/// The blocks that they would share are about to go, or have been computed.
void planner::let_forks_go(sequence& parent) {
  for (auto slot : std::exchange(parent.forks, {})) {
    auto& fork = *slots_[slot];
    fork.fork_parent = nullptr;
    enqueue(fork);
  }
}

void planner::leave_parent(sequence& fork) {
  if (auto* parent = std::exchange(fork.fork_parent, nullptr))
    std::erase(parent->forks, fork.slot);
}

void planner::report(kv_operation::kind_type kind, const sequence& s, std::size_t group, std::uint32_t count,
                     std::uint32_t offset, sequence_id other) {
  report_.operations.push_back({kind, static_cast<kv_group>(group), count, offset, s.request.id, other});
}

void planner::give_up_blocks(sequence& s) {
  if (s.account) {
    report(kv_operation::kind_type::release, s, 0, 0);
    releases_unreported_ = true;
  }
  if (s.known_to_worker)
    left_.push_back(s.slot);
  forget_blocks(s);
}

void planner::forget_blocks(sequence& s) {
  let_forks_go(s);
  holders_.erase(&s);
  for (auto& table : s.tables)
    table.clear();
  std::fill(s.dropped.begin(), s.dropped.end(), 0);
  s.drafts.clear();
  s.computed = s.planned = s.blocks = s.filled = s.told = 0;
  s.lookup = lookup_state::none;
  s.account = s.known_to_worker = s.worker_holds_last = false;
}

void planner::leave_when_back(sequence& s, bool& why) {
  if (!s.leaving())
    ++leaving_;
  why = true;
}

/// No step in flight has it any more.
void planner::settle(sequence& s) {
  --leaving_;
  if (s.removed)
    return drop(s);
  s.giving_up = false;
  stop_running(s);
  give_up_blocks(s);
  enqueue(s);
}

void planner::drop(sequence& s) {
  if (s.running)
    stop_running(s);
  waiting_.erase(&s);
  leave_parent(s);
  give_up_blocks(s);
  all_.erase(s.request.id);
  free_slots_.push_back(s.slot);
  slots_[s.slot].reset();
}

// Its blocks stay in the cache, where it would find them at once and hold them again: it is not looked up before there
// is room for all of it.
void planner::preempt(sequence& victim) {
  ++preemptions_;
  victim.waits_its_turn = true;
  if (victim.in_flight > 0 || victim.in_chunk)
    return leave_when_back(victim, victim.giving_up);
  stop_running(victim);
  give_up_blocks(victim);
  enqueue(victim);
}

void planner::reset(std::uint64_t epoch) {
  epoch_ = epoch;
  snapshot_ = true;
  steps_.clear();
  holders_.clear();
  leaving_ = 0;
  for (auto* s : std::exchange(running_, {})) {
    s->running = s->giving_up = false;
    s->in_flight = s->pins = s->ahead = 0;
    s->credit = saturating_add(s->credit, std::exchange(s->reserved, 0));
  }
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    auto* s = slots_[slot].get();
    if (!s)
      continue;
    s->account = s->known_to_worker = false; // Nobody needs to be told what the new epoch says of all.
    s->waits_its_turn = false;
    forget_blocks(*s);
    if (s->removed)
      drop(*s);
    else
      enqueue(*s);
  }
  left_.clear();
  const auto generation = report_.generation + 1;
  report_ = {};
  report_.generation = generation;
  report_.reset = true;
  report_on_its_way_ = releases_unreported_ = ask_again_ = false;
  for (std::size_t g = 0; g < purse_.size(); ++g) {
    purse_[g].clear();
    available_[g] = options_.groups[g].blocks;
  }
}

// A full purse covers any one step: every row may begin a block only once in `tokens_per_block`, or once a sequence.
// Most of a small pool is left to the cache: what the purse has, nobody can hit.
std::uint32_t planner::purse_target(std::size_t group) const {
  const auto blocks = options_.groups[group].blocks;
  return std::min(blocks / 8 + 1, options_.max_batched_tokens / tokens_per_block + options_.max_sequences);
}

bool planner::wants_blocks() const {
  for (std::size_t g = 0; g < purse_.size(); ++g)
    if (available_[g] > 0 && purse_[g].size() < purse_target(g))
      return true;
  return false;
}

/// Sequences near the front are asked about, as many as may be admitted soon.
void planner::add_lookups() {
  const auto places = options_.max_sequences - std::min<std::size_t>(options_.max_sequences, running_.size());
  const auto most = std::min<std::size_t>(options_.lookahead, places + spare_lookups);
  std::size_t seen = 0;
  bool room = true;
  count_purse();
  for (auto next = waiting_.begin(); next != waiting_.end() && seen < most; ++next, ++seen) {
    auto& s = **next;
    // Alone, the first one fits, and it needs all there is. Behind one that lacks room, it would hold what that one lacks.
    room = room && (running_.empty() ? seen == 0 : fits(s));
    if (s.lookup != lookup_state::none || (s.waits_its_turn && !room) || (s.fork_parent && can_fork(s)))
      continue;
    leave_parent(s);
    kv_lookup lookup{s.request.id, s.request.prompt, s.request.key, true};
    if (!s.answer.empty()) {
      auto tokens = std::make_shared<std::vector<token_id>>(*s.request.prompt);
      tokens->insert(tokens->end(), s.answer.begin(), s.answer.end());
      lookup.tokens = std::move(tokens);
    }
    const auto& wanted = *s.request.sampling; // What is said of every token needs every token's row.
    lookup.may_hit =
      (wanted.prompt_logprobs < 0 || s.logprobs_told >= s.prompt_tokens) && wanted.pooling != pooling::mean;
    s.lookup = lookup_state::asked;
    s.account = true;
    s.told = s.length();
    report_.lookups.push_back(std::move(lookup));
  }
}

std::optional<kv_report> planner::take_report() {
  if (report_on_its_way_)
    return std::nullopt;
  add_lookups();
  if (!report_.reset && report_.operations.empty() && report_.lookups.empty() && !wants_blocks() && !ask_again_)
    return std::nullopt;
  for (std::size_t g = 0; g < purse_.size(); ++g)
    report_.purse_targets.push_back(purse_target(g));
  report_.epoch = epoch_;
  report_on_its_way_ = true;
  releases_unreported_ = ask_again_ = false;
  kv_report next;
  next.generation = report_.generation;
  return std::exchange(report_, std::move(next));
}

void planner::grant(kv_grant answer) {
  if (answer.generation != report_.generation)
    return; // From before a reset.
  report_on_its_way_ = false;
  available_ = std::move(answer.available);
  for (std::size_t g = 0; g < purse_.size(); ++g)
    purse_[g].insert(purse_[g].end(), answer.blocks[g].begin(), answer.blocks[g].end());
  for (auto& found : answer.hits)
    receive(found);
}

bool planner::hit(kv_hit found, std::uint32_t generation) {
  if (generation != report_.generation)
    return false;
  ask_again_ = true; // What was set aside for it may be free now.
  return receive(found);
}

bool planner::receive(kv_hit& found) {
  auto* s = find(found.sequence);
  if (!s || s->lookup != lookup_state::asked)
    return false;
  s->lookup = lookup_state::answered;
  s->tables = std::move(found.blocks);
  s->blocks = found.tokens / tokens_per_block;
  s->computed = s->planned = s->filled = found.tokens;
  for (std::size_t g = 0; g < s->tables.size(); ++g) {
    const auto& table = s->tables[g];
    const auto live = std::find_if(table.begin(), table.end(), [](block_id block) { return block != no_block; });
    s->dropped[g] = static_cast<std::uint32_t>(live - table.begin());
  }
  if (found.tokens > 0)
    holders_.insert(s);
  if (s->paused)
    give_up_blocks(*s);
  return true;
}

std::vector<admitted_sequence> planner::take_admissions() {
  return std::exchange(admissions_, {});
}

planner_counts planner::counts() const {
  planner_counts result;
  result.running = static_cast<std::uint32_t>(running_.size());
  for (const auto& [id, s] : all_) {
    result.paused += s->stalled();
    result.waiting += !s->running && !s->stalled();
  }
  result.steps_in_flight = static_cast<std::uint32_t>(steps_.size());
  for (const auto& purse : purse_)
    result.purse.push_back(static_cast<std::uint32_t>(purse.size()));
  result.preemptions = preemptions_;
  result.wasted_rows = wasted_rows_;
  result.drafts_proposed = drafts_proposed_;
  result.drafts_accepted = drafts_accepted_;
  return result;
}

} // namespace troupe
