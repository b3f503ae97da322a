// What clients do in a walk, and a proposer of drafts.
#include "tests/engine/planner_walk.hpp"

namespace troupe::test {

void planner_walk::add() {
  auto request = random_request(any_, options_, next_id_);
  const auto choices = request.sampling->pooling == pooling::none && any_.percent(20) ? any_.between(2, 4) : 1;
  for (std::uint32_t choice = 0; choice < choices; ++choice) {
    auto one = request;
    one.id = next_id_++;
    if (choice > 0) {
      auto sampling = std::make_shared<sequence_sampling>(*request.sampling);
      sampling->choice = choice;
      one.sampling = sampling;
      one.fork_of = request.id;
    }
    const auto refusal = model_.refusal(one);
    auto slot = planner_.add(one, now_);
    trace_.request(one, slot.has_value());
    must(slot.has_value() == (refusal == errc::none), one.id, "was refused, or not, against what was expected");
    must(slot.has_value() || slot.error().code == refusal, one.id, "was refused for another reason");
    if (slot)
      model_.add(one, *slot, now_);
  }
}

void planner_walk::cancel() {
  const auto id = somebody();
  if (any_.percent(50))
    return;
  const bool there = model_.alive(id);
  must(planner_.remove(id) == there, id, "could be removed, or not, against what was expected");
  trace_("remove", id, there ? "" : "(unknown)");
  if (there)
    model_.remove(id);
}

void planner_walk::pause_or_resume() {
  const auto id = somebody();
  const bool there = model_.alive(id), pause = any_.percent(40);
  must((pause ? planner_.pause(id) : planner_.resume(id)) == there, id, "could be paused or resumed unexpectedly");
  trace_(pause ? "pause" : "resume", id, there ? "" : "(unknown)");
  if (there)
    model_.at(id).paused = pause;
}

void planner_walk::grant_credit() {
  const auto id = somebody();
  const bool there = model_.alive(id);
  const auto tokens = any_.percent(10) ? unlimited_credit : any_.below(15);
  must(planner_.grant_credit(id, tokens) == there, id, "could be granted credit unexpectedly");
  trace_("credit for", id, tokens, there ? "" : "(unknown)");
  if (there)
    model_.grant(id, tokens);
}

void planner_walk::propose() {
  for (const auto& [id, s] : model_.all()) {
    if (!s->joined || any_.percent(30))
      continue;
    const auto index = static_cast<std::uint32_t>(s->answer.size()) + (any_.percent(90) ? 0 : any_.below(3));
    std::vector<token_id> drafts;
    for (auto count = any_.below(7); count > 0; --count)
      drafts.push_back(any_.percent(80) ? s->right.token(s->prompt_tokens() + index + drafts.size())
                                        : static_cast<token_id>(any_.below(vocabulary)));
    if (!planner_.propose(id, index, drafts))
      continue;
    trace_(drafts.size(), "drafts for", id);
    drafts.resize(std::min<std::size_t>(drafts.size(), s->request.max_drafts));
    model_.proposed(id, index, std::move(drafts));
  }
}

} // namespace troupe::test
