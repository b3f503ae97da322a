// The drafters of a simulated world: they guess about half of what they propose right.
#include "tests/simulation/engine_watch.hpp"

namespace troupe::simulated {

namespace {

constexpr std::uint32_t right_percent = 70; ///< Of each guess; those behind a wrong one count for nothing.

} // namespace

std::vector<token_id> engine_watch::guess(const sequence& s, std::span<const token_id> answer, std::uint32_t most) {
  auto& random = world_.random();
  std::vector<token_id> known(answer.begin(), answer.end());
  for (auto count = random.between(1, most); count > 0; --count) {
    const auto right = guess_right(plan_.answers, s.sampling, *s.prompt, known);
    const bool wrong = right == no_token || !random.chance(right_percent);
    known.push_back(wrong ? first_plain_token + static_cast<token_id>(random.below(200)) : right);
  }
  return {known.begin() + static_cast<std::ptrdiff_t>(answer.size()), known.end()};
}

/// As the planner asks for them, between a result and the next step.
drafter engine_watch::make_drafter() {
  if (plan_.draft_percent == 0)
    return nullptr;
  return [this](std::span<draft_query> queries) { draft(queries); };
}

void engine_watch::draft(std::span<draft_query> queries) {
  for (auto& query : queries) {
    const auto& s = sequences_[query.sequence];
    if (!s.drafted || query.prompt.size() != s.prompt->size())
      broken("guesses were wanted for sequence " + std::to_string(query.sequence) + ", which has no drafter.");
    else if (world_.random().chance(85))
      query.guesses = guess(s, query.answer, query.most + world_.random().below(2));
  }
}

/// One that answers by itself is late as often as not.
void engine_watch::draft_late(sequence_id id, const sequence& s) {
  if (world_.random().chance(30))
    caf::anon_send(tree_.engines.front().scheduler, draft_atom::value, id, static_cast<std::uint32_t>(s.answer.size()),
                   guess(s, s.answer, 6));
}

} // namespace troupe::simulated
