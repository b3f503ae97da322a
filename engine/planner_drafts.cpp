// Guesses: who is asked for them, and how many are tried.
#include <algorithm>

#include "engine/planner.hpp"

namespace troupe {

/// Drafts are for who goes on from tokens that are all known: nobody is planned ahead who wants some.
void planner::ask_drafter() {
  if (!options_.draft)
    return;
  queries_.clear();
  for (auto* s : running_) {
    const auto made = static_cast<std::uint32_t>(s->answer.size());
    if (s->request.max_drafts == 0 || !s->generates() || !s->drafts.empty() || made == s->asked_at ||
        s->in_flight > 0 || s->to_compute() != 1 || !plannable(*s))
      continue;
    s->asked_at = made;
    const auto most = std::min({std::uint32_t{s->request.max_drafts}, s->request.max_tokens - made - 1,
                                options_.context_length - s->length() - 1});
    if (most > 0)
      queries_.push_back({s->request.id, s->slot, *s->request.prompt, s->answer, most, {}});
  }
  if (queries_.empty())
    return;
  options_.draft(queries_);
  for (const auto& query : queries_)
    propose(query.sequence, static_cast<std::uint32_t>(query.answer.size()), query.guesses);
}

bool planner::propose(sequence_id id, std::uint32_t index, std::span<const token_id> drafts) {
  auto* s = find(id);
  if (!s || !s->running || s->in_flight > 0 || index != s->answer.size() || s->answer.empty())
    return false;
  const auto used = std::min<std::size_t>(drafts.size(), s->request.max_drafts);
  s->drafts.assign(drafts.begin(), drafts.begin() + static_cast<std::ptrdiff_t>(used));
  return used > 0;
}

/// Drafts that may be tried now: not at the cost of another sequence's row, and not past what the answer may have.
std::uint32_t planner::drafts_for(const sequence& s) const {
  const auto others = static_cast<std::uint32_t>(running_.size());
  const auto spare = std::min(rows_left_, logit_rows_left_);
  std::uint64_t most = spare > others ? spare - others : 0;
  most = std::min<std::uint64_t>(most, s.drafts.size());
  most = std::min<std::uint64_t>(most, s.credit - 1);
  most = std::min<std::uint64_t>(most, s.request.max_tokens - s.answer.size() - 1);
  most = std::min<std::uint64_t>(most, options_.context_length - s.length() - 1);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(most, rows_in_purse(s) - 1));
}

} // namespace troupe
