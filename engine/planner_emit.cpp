// Decisions become a step: joins, blocks out of the purse, copies for forks, rows.
#include <algorithm>

#include "engine/planner.hpp"
#include "engine/planner_arithmetic.hpp"

namespace troupe {

void planner::emit(const chunk& part, step_changes& step, step_in_flight& record, std::vector<member>& pinned) {
  auto& s = *part.who;
  s.in_chunk = false;
  auto* parent = s.fork_parent ? emit_fork(s) : nullptr;
  if (parent)
    parent->in_chunk = false;
  const auto first_new = s.blocks;
  if (part.blocks > 0)
    spend(s, part.blocks);
  if (parent) {
    copy_partial_block(s, *parent, step);
    ++parent->in_flight; // Its blocks are read by this step.
    ++parent->pins;
    pinned.push_back({parent, 0, 0, 0, false, true});
  }
  const bool joins = !s.known_to_worker;
  if (joins)
    emit_join(s, step);
  if (joins || part.blocks > 0)
    emit_blocks(s, joins ? 0 : first_new, step);
  emit_rows(s, part, step);
  const auto& rows = step.rows.back();
  record.members.push_back(
    {&s, rows.first_position + rows.count - rows.drafts, rows.count, rows.drafts, rows.samples, false});
}

/// The child gets the parent's whole blocks; what is in the last one, it gets its own copy of.
planner::sequence* planner::emit_fork(sequence& s) {
  auto* parent = s.fork_parent;
  leave_parent(s);
  const auto shared = s.shared_blocks();
  for (std::size_t g = 0; g < s.tables.size(); ++g) {
    const auto& table = parent->tables[g];
    s.tables[g].assign(table.begin(), table.begin() + shared);
    s.dropped[g] = std::min(parent->dropped[g], shared);
    report(kv_operation::kind_type::fork, s, g, shared, 0, parent->request.id);
  }
  s.account = true;
  s.lookup = lookup_state::answered;
  s.blocks = shared;
  s.computed = s.planned = s.prompt_tokens - 1;
  s.filled = s.told = shared * tokens_per_block;
  return parent;
}

void planner::copy_partial_block(const sequence& s, const sequence& parent, step_changes& step) const {
  if (s.computed % tokens_per_block == 0)
    return;
  const auto index = s.computed / tokens_per_block;
  for (std::size_t g = 0; g < s.tables.size(); ++g)
    step.copied.push_back({static_cast<kv_group>(g), parent.tables[g][index], s.tables[g][index]});
}

/// Takes `count` more blocks of every group out of the purse.
void planner::spend(sequence& s, std::uint32_t count) {
  for (std::size_t g = 0; g < s.tables.size(); ++g) {
    auto& purse = purse_[g];
    const auto first = purse.end() - count;
    report(kv_operation::kind_type::spend, s, g, count, static_cast<std::uint32_t>(report_.blocks.size()));
    report_.blocks.insert(report_.blocks.end(), first, purse.end());
    s.tables[g].insert(s.tables[g].end(), first, purse.end());
    purse.erase(first, purse.end());
  }
  s.blocks += count;
}

void planner::emit_join(sequence& s, step_changes& step) {
  sequence_joined joined;
  joined.slot = s.slot;
  joined.sequence = s.request.id;
  joined.sampling = s.request.sampling;
  joined.prompt_tokens = s.prompt_tokens;
  joined.mask = s.request.mask;
  joined.adapter = s.request.key.adapter;
  if (s.request.sampling->needs_history()) {
    joined.history = s.request.prompt;
    if (!s.answer.empty()) {
      auto all = std::make_shared<std::vector<token_id>>(*s.request.prompt);
      all->insert(all->end(), s.answer.begin(), s.answer.end());
      joined.history = std::move(all);
    }
  }
  step.joined.push_back(std::move(joined));
  s.known_to_worker = true;
  s.worker_holds_last = false;
  if (!std::exchange(s.admitted_before, true))
    admissions_.push_back({s.request.id, s.slot, s.computed});
}

void planner::emit_blocks(sequence& s, std::uint32_t first, step_changes& step) {
  for (std::size_t g = 0; g < s.tables.size(); ++g) {
    const auto& table = s.tables[g];
    step.appended.push_back({s.slot, static_cast<kv_group>(g), static_cast<std::uint32_t>(step.blocks.size()),
                             static_cast<std::uint32_t>(table.size()) - first});
    step.blocks.insert(step.blocks.end(), table.begin() + first, table.end());
  }
}

void planner::emit_rows(sequence& s, const chunk& part, step_changes& step) {
  const auto known_rows = part.count - part.drafts; // Those that are no guesses.
  step_rows rows;
  rows.slot = s.slot;
  rows.first_position = s.planned;
  rows.count = part.count;
  rows.drafts = static_cast<std::uint16_t>(part.drafts);
  rows.offset = static_cast<std::uint32_t>(step.tokens.size());
  rows.samples = s.samples_at(s.planned + known_rows);
  rows.holds_last = rows.samples && (s.ahead > 0 || s.worker_holds_last);
  rows.prompt_logprobs = wants_prompt_logprobs(s, s.planned, part.count);
  const auto end = s.planned + known_rows - (rows.holds_last ? 1 : 0);
  for (auto position = s.planned; position < end; ++position)
    step.tokens.push_back(s.token_at(position));
  step.tokens.insert(step.tokens.end(), s.drafts.begin(), s.drafts.begin() + part.drafts);
  if (rows.prompt_logprobs && s.planned + part.count < s.prompt_tokens)
    step.tokens.push_back(s.token_at(s.planned + part.count));
  s.drafts.clear();
  s.planned += part.count;
  s.last_step = step.step;
  ++s.in_flight;
  if (rows.samples) {
    ++s.ahead;
    s.worker_holds_last = true;
    if (s.credit != unlimited_credit) {
      s.credit -= 1 + part.drafts;
      s.reserved += 1 + part.drafts;
    }
  }
  drafts_proposed_ += part.drafts;
  step.rows.push_back(rows);
}

} // namespace troupe
