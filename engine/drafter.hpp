// Speculation: who guesses the next tokens of an answer, and when it is asked.
//
// The planner asks between a step's result and the next step: in `plan`, about all sequences at once that want drafts
// (`new_sequence::max_drafts`), run, and have no step in flight, so that every token of theirs is known. What comes
// back is tried in the step that is planned then. Each sequence is asked about once for each length of its answer; no
// guess is no disgrace. Guesses that come later, from elsewhere, go through `planner::propose`.
//
// A guess changes when tokens come and never which: the worker samples every position as always and takes a guess
// where it is the token that was sampled. Wrong ones cost their rows.
//
// Owner: the planner, in its owner's thread, while a device may wait: a drafter answers in microseconds (it looks
// into tokens, or into what somebody else has computed before), and neither waits nor throws.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/step.hpp"

namespace troupe {

struct draft_query {
  sequence_id sequence = 0;
  slot_id slot = 0; ///< The planner's: whoever keeps something for a sequence may index it by this.
  std::span<const token_id> prompt, answer;
  std::uint32_t most = 0;        ///< More guesses are not tried.
  std::vector<token_id> guesses; ///< The answer: tokens of the model's vocabulary that follow `answer`, in order.
};

using drafter = std::function<void(std::span<draft_query>)>;

} // namespace troupe
