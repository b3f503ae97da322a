// What a request must bring, computed for it alone and without an engine.
//
// With a fake worker it is the fake model (fake_model.hpp). With the real worker it is the backend of
// tests/support/fake_backend.hpp, a real sampler of the sequence's own, and the whole history: whatever the engine
// does (batches, hits, preemptions, drafts, deaths), the tokens must be those.
#pragma once

#include "tests/simulation/fake_model.hpp"

namespace troupe::simulated {

struct world_of_answers {
  bool real_worker = false;
  std::uint32_t capacity = 0; ///< Tokens that prompt and answer may have together.
};

struct right_answer {
  std::vector<token_id> tokens;
  std::string text; ///< Without an echo.
  finish_reason reason = finish_reason::length;
  bool fails = false;                  ///< After these tokens no token is left to go on with.
  std::vector<token_logprob> logprobs; ///< One for each token, where they are asked for.
  float mean_logprob = 0;
  stop_cause stopped_by;
};

/// What choice `choice` must bring if nobody cancels it.
right_answer right_answer_to(const world_of_answers& world, const generate_request& request,
                             const std::vector<token_id>& prompt, std::uint32_t choice);

/// The answers that are given, in their order: the first n, or the n best of those that are generated.
std::vector<right_answer> given_answers(const generate_request& request, std::vector<right_answer> generated);

/// Of the prompt's tokens but the first.
std::vector<token_logprob> right_prompt_logprobs(const world_of_answers& world, const generate_request& request,
                                                 const std::vector<token_id>& prompt);

/// Where it asks for one.
std::vector<float> right_embedding(const generate_request& request, const std::vector<token_id>& prompt);

/// The next token of a sequence alone, for whoever wants to guess right.
token_id guess_right(const world_of_answers& world, const shared_sampling& sampling,
                     std::span<const token_id> prompt, std::span<const token_id> answer);

/// The ids of any prompt, and its text for an echo, by the tokenizer itself and no actor.
std::vector<token_id> ids_of(const prompt& what);
std::string echo_of(const prompt& what);

} // namespace troupe::simulated
