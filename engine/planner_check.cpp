// What must always hold between two calls, counted again from the beginning.
#include <algorithm>
#include <string>

#include "engine/planner.hpp"
#include "engine/planner_arithmetic.hpp"

namespace troupe {

expected<void> planner::check_sequence(const sequence& s) const {
  const auto broken = [&](const char* what) {
    return fail(errc::internal, "Sequence " + std::to_string(s.request.id) + " " + what + ".");
  };
  if (s.removed)
    return {}; // Nothing is taken in for it any more.
  if (s.computed > s.planned || s.planned > s.length_ahead() + (s.ahead > 0 ? s.request.max_drafts : 0u))
    return broken("has more computed or planned tokens than tokens");
  if (s.length() > options_.context_length)
    return broken("is longer than the context");
  if (s.in_flight > options_.steps_ahead + s.forks.size() + options_.max_sequences || s.ahead > s.in_flight)
    return broken("is ahead of more steps than it may be");
  if ((s.in_flight > 0 || s.ahead > 0 || s.leaving()) && !s.running)
    return broken("is in flight, but does not run");
  if (s.planned > 0 && !s.account)
    return broken("has computed tokens, but no account of blocks");
  if (s.filled > s.computed || s.filled % tokens_per_block != 0)
    return broken("has told the manager of tokens that are not computed");
  for (std::size_t g = 0; g < s.tables.size(); ++g) {
    const auto& table = s.tables[g];
    if (table.size() != s.blocks || std::uint64_t{s.blocks} * tokens_per_block < s.planned)
      return broken("has not as many blocks as its tokens fill");
    for (std::size_t i = 0; i < table.size(); ++i)
      if ((table[i] == no_block) != (i < s.dropped[g]))
        return broken("has lost a block, or kept one that its window has passed");
  }
  if (waiting_.count(const_cast<sequence*>(&s)) && (s.running || s.stalled() || s.leaving()))
    return broken("stands in the queue, but cannot be admitted");
  if (!s.running && !s.stalled() && !waits_for_parent(s) && !waiting_.count(const_cast<sequence*>(&s)))
    return broken("could be admitted, but stands in no queue");
  if (holders_.count(const_cast<sequence*>(&s)) != (!s.running && s.blocks > 0))
    return broken("holds blocks while it waits, and nobody knows");
  return {};
}

expected<void> planner::check_integrity() const {
  const auto broken = [](const char* what) { return fail(errc::internal, what); };
  if (running_.size() > options_.max_sequences)
    return broken("More sequences run than may.");
  std::size_t running = 0, leaving = 0;
  for (const auto& [id, s] : all_) {
    running += s->running;
    leaving += s->leaving();
    if (s->running && running_.at(s->place) != s)
      return broken("A running sequence is not where it says.");
    if (auto right = check_sequence(*s); !right)
      return right;
  }
  if (running != running_.size() || leaving != leaving_)
    return broken("The count of running or leaving sequences is wrong.");
  // A writer has its blocks alone: only whole blocks that are computed are shared.
  for (std::size_t g = 0; g < purse_.size(); ++g) {
    std::vector<block_id> own = purse_[g];
    for (const auto& [id, s] : all_)
      for (std::size_t i = s->computed / tokens_per_block; i < s->tables[g].size(); ++i)
        if (s->tables[g][i] != no_block)
          own.push_back(s->tables[g][i]);
    std::sort(own.begin(), own.end());
    if (std::adjacent_find(own.begin(), own.end()) != own.end())
      return broken("A block that is written to is in two places.");
  }
  std::vector<std::uint32_t> flights(slots_.size(), 0);
  for (const auto& step : steps_)
    for (const auto& m : step.members)
      ++flights.at(m.who->slot);
  for (const auto& [id, s] : all_)
    if (s->in_flight != flights[s->slot])
      return broken("The count of a sequence's steps in flight is wrong.");
  return {};
}

} // namespace troupe
