// A step's result: tokens, what is computed now, and what the manager hears of it.
#include <algorithm>
#include <string>

#include "engine/planner.hpp"
#include "engine/planner_arithmetic.hpp"

namespace troupe {

namespace {

auto wrong(std::uint64_t step, const std::string& what) {
  return fail(errc::internal, "The result of step " + std::to_string(step) + " is wrong: " + what +
                                "; this is a bug of the worker.");
}

} // namespace

expected<void> planner::check_result(const step_result& result, const step_in_flight& record) const {
  if (result.step != record.step)
    return wrong(result.step, "the next one is step " + std::to_string(record.step));
  std::size_t sampling_rows = 0, drafted = 0;
  for (const auto& m : record.members)
    if (m.samples) {
      if (!result.accepted.empty() && sampling_rows < result.accepted.size()) {
        if (result.accepted[sampling_rows] > m.drafts)
          return wrong(result.step, "more drafts were accepted than tried");
        drafted += result.accepted[sampling_rows];
      }
      ++sampling_rows;
    }
  if (!result.accepted.empty() && result.accepted.size() != sampling_rows)
    return wrong(result.step, "it does not say of every row how many drafts were accepted");
  if (result.sampled.size() != sampling_rows + drafted)
    return wrong(result.step, "it has " + std::to_string(result.sampled.size()) + " tokens where " +
                                std::to_string(sampling_rows + drafted) + " were to be sampled");
  const auto is_there = [&](const auto& entry) {
    return entry.row < record.members.size() && !record.members[entry.row].pinned;
  };
  for (const auto* side : {&result.logprobs, &result.prompt_logprobs})
    if (!std::all_of(side->begin(), side->end(), is_there))
      return wrong(result.step, "it has logprobs of a row that was not in the step");
  if (!std::all_of(result.embeddings.begin(), result.embeddings.end(), is_there))
    return wrong(result.step, "it has an embedding of a row that was not in the step");
  if (!std::all_of(result.failures.begin(), result.failures.end(), is_there))
    return wrong(result.step, "a row has failed that was not in the step");
  return {};
}

expected<std::span<const token_event>> planner::take(const step_result& result) {
  events_.clear();
  prompt_logprobs_.clear();
  embeddings_.clear();
  failures_.clear();
  if (result.epoch != epoch_ || steps_.empty() || result.step < steps_.front().step)
    return std::span<const token_event>(); // From before a reset, or twice.
  if (auto right = check_result(result, steps_.front()); !right)
    return tl::unexpected(right.error());
  auto record = std::move(steps_.front());
  steps_.pop_front();
  cost_.learn(record.work, result.compute_ms);
  std::vector<const error*> failures(result.failures.empty() ? 0 : record.members.size());
  for (const auto& failure : result.failures)
    failures[failure.row] = &failure.why;
  const auto failure_of = [&](const member& m) {
    return failures.empty() ? nullptr : failures[static_cast<std::size_t>(&m - record.members.data())];
  };
  for (const auto& entry : result.embeddings)
    if (const auto& s = *record.members[entry.row].who; !s.removed)
      embeddings_.push_back({s.request.id, s.slot, entry.values});
  std::size_t sample = 0, next = 0;
  for (auto& m : record.members) {
    --m.who->in_flight;
    if (m.pinned) {
      --m.who->pins;
      continue;
    }
    if (!m.samples) {
      if (!m.who->removed)
        commit(*m.who, m.end);
      if (const auto* failure = failure_of(m))
        fail_sequence(*m.who, *failure);
      else
        end_with_prompt(*m.who);
      continue;
    }
    const auto count = 1u + (result.accepted.empty() ? 0u : result.accepted[sample]);
    take_tokens(m, std::span(result.sampled).subspan(next, count), failure_of(m));
    next += count;
    ++sample;
  }
  take_logprobs(result, record);
  settle_all(record);
  return std::span<const token_event>(events_);
}

/// If that is all it has, and all of it is computed.
void planner::end_with_prompt(sequence& s) {
  if (s.removed || s.generates() || s.computed < s.prompt_tokens)
    return;
  events_.push_back({s.request.id, s.slot, 0, no_token, finish_reason::length, nullptr});
  leave_when_back(s, s.removed);
}

/// It goes no further; the others do.
void planner::fail_sequence(sequence& s, const error& why) {
  if (s.removed)
    return;
  failures_.push_back({s.request.id, s.slot, why});
  leave_when_back(s, s.removed);
}

/// Those who wait for their steps to come back; one may be in a step twice, as a parent of forks.
void planner::settle_all(const step_in_flight& record) {
  std::vector<sequence*> settled;
  for (const auto& m : record.members)
    if (m.who->in_flight == 0 && m.who->leaving() && std::find(settled.begin(), settled.end(), m.who) == settled.end())
      settled.push_back(m.who);
  for (auto* s : settled)
    settle(*s);
}

void planner::take_tokens(member& row, std::span<const token_id> tokens, const error* failure) {
  auto& s = *row.who;
  const auto count = static_cast<std::uint32_t>(tokens.size());
  --s.ahead;
  const auto reserved = std::min(s.reserved, 1u + row.drafts);
  s.reserved -= reserved;
  if (s.credit != unlimited_credit)
    s.credit += reserved - std::min(reserved, count); // For drafts that were wrong.
  drafts_accepted_ += count - 1;
  if (s.removed) {
    wasted_rows_ += row.rows;
    return;
  }
  row.first_event = static_cast<std::uint32_t>(events_.size());
  static const error none_left{errc::invalid_argument, "No token is left to go on with."};
  for (auto token : tokens) {
    if (token == no_token) {
      failure = failure ? failure : &none_left;
      break;
    }
    token_event event;
    event.sequence = s.request.id;
    event.slot = s.slot;
    event.index = static_cast<std::uint32_t>(s.answer.size());
    event.token = token;
    s.answer.push_back(token);
    event.finished = finish_of(s, token);
    events_.push_back(event);
    if (event.finished) {
      leave_when_back(s, s.removed);
      break;
    }
  }
  row.events = static_cast<std::uint32_t>(events_.size()) - row.first_event;
  commit(s, std::min(row.end + count - 1, s.length()));
  if (row.drafts > 0)
    s.planned = s.computed; // What was computed for wrong guesses is written over.
  if (failure)
    fail_sequence(s, *failure);
}

std::optional<finish_reason> planner::finish_of(const sequence& s, token_id token) const {
  const auto& ends = s.request.sampling->end_tokens;
  if (s.answer.size() > s.request.sampling->min_tokens && std::find(ends.begin(), ends.end(), token) != ends.end())
    return finish_reason::stop;
  if (s.answer.size() >= s.request.max_tokens || s.length() >= options_.context_length)
    return finish_reason::length;
  return std::nullopt;
}

void planner::commit(sequence& s, std::uint32_t computed) {
  s.computed = computed;
  if (computed / tokens_per_block * tokens_per_block > s.filled)
    report_filled(s);
  if (windowed_ && s.pins == 0)
    report_dropped(s);
  if (!s.forks.empty() && computed + 1 >= s.prompt_tokens)
    call_forks(s);
}

void planner::report_filled(sequence& s) {
  const auto filled = s.computed / tokens_per_block * tokens_per_block;
  report(kv_operation::kind_type::fill, s, 0, filled - s.filled, static_cast<std::uint32_t>(report_.tokens.size()));
  for (auto position = std::max(s.told, s.filled); position < filled; ++position)
    report_.tokens.push_back(s.token_at(position));
  s.filled = filled;
  s.told = std::max(s.told, filled);
}

/// Rows to come stand at `computed` or later: what their windows do not reach, nobody reads again.
void planner::report_dropped(sequence& s) {
  for (std::size_t g = 0; g < s.tables.size(); ++g) {
    const auto window = options_.groups[g].window;
    if (window == 0 || s.computed + 1 <= window)
      continue;
    const auto passed = std::min<std::uint32_t>((s.computed + 1 - window) / tokens_per_block, s.blocks);
    if (passed <= s.dropped[g])
      continue;
    std::fill(s.tables[g].begin() + s.dropped[g], s.tables[g].begin() + passed, no_block);
    s.dropped[g] = passed;
    report(kv_operation::kind_type::drop_front, s, g, passed);
  }
}

void planner::take_logprobs(const step_result& result, const step_in_flight& record) {
  for (const auto& entry : result.logprobs) {
    const auto& row = record.members[entry.row];
    for (std::uint32_t i = 0; i < std::min<std::size_t>(row.events, entry.tokens.size()); ++i)
      events_[row.first_event + i].logprob = &entry.tokens[i];
  }
  for (const auto& entry : result.prompt_logprobs) {
    auto& s = *record.members[entry.row].who;
    const auto end = entry.position + static_cast<std::uint32_t>(entry.tokens.size());
    if (end <= s.logprobs_told || entry.position > s.logprobs_told)
      continue; // Computed again after a preemption.
    const auto known = s.logprobs_told - entry.position;
    prompt_logprobs_.push_back({s.request.id, s.slot, s.logprobs_told, std::span(entry.tokens).subspan(known)});
    s.logprobs_told = end;
  }
}

} // namespace troupe
