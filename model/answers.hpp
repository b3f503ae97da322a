// All answers to one request, as the tokens of its sequences come: their journals, texts and logprobs, what of it is
// sent when, and which are the best.
//
// Where all answers that are generated are given (`sequences` is `n`), each token is sent as it comes, and the choice
// is the sequence. Otherwise nothing is sent before all have ended: then the `n` with the highest mean logprob, the
// best one as choice 0; of equals the one that was generated first. An answer without tokens comes last.
//
// The token that ends an answer (end of sequence, stop token) is in the answer's tokens, but has no text.
//
// Owner: the stream actor, one for each request. No actor, no clock.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/answer_text.hpp"
#include "protocol/messages.hpp"

namespace troupe {

struct answers_options {
  request_id id = 0;           ///< For the deltas.
  std::uint32_t n = 1;         ///< Given.
  std::uint32_t sequences = 1; ///< Generated; at least n.
  std::vector<std::string> stop;
  std::uint32_t min_tokens = 0;
  bool logprobs = false; ///< In the deltas. Ranked answers have them in any case.
};

class answers {
public:
  using deltas = std::vector<token_delta>;

  enum class outcome {
    stale, ///< It was there already, or the answer has ended: nothing has changed.
    goes_on,
    ended,   ///< As the scheduler knows.
    stopped, ///< By a stop string: the scheduler does not know.
  };

  answers() = default;
  answers(const std::shared_ptr<const tokenizer>& tokens, answers_options options);

  /// Every answer's text begins with this one, in its first delta. Before the first token.
  void echo(const std::string& prompt);

  /// Logprobs of the prompt's tokens from `position` on; those that were there already are left out.
  void take_prompt_logprobs(std::uint32_t position, std::span<token_logprob> logprobs, deltas& out);

  /// A token of one sequence; `finished` if it is the last one; `no_token` if it has ended without one. What is sent now is appended to `out`, to its last
  /// delta where that is the same answer's.
  outcome take(std::uint32_t choice, std::uint32_t index, token_id token, std::optional<finish_reason> finished,
               token_logprob* logprob, deltas& out);

  bool all_ended() const { return ended_ == choices_.size(); }
  bool ended(std::uint32_t choice) const { return choices_[choice].reason.has_value(); }
  bool ranked() const { return choices_.size() > options_.n; }

  /// All have ended: the deltas of ranked answers.
  void finish(deltas& out);

  /// How each answer that was given ended; `reason` for those that had not. Where they are ranked and have not all
  /// ended, none was given.
  std::vector<choice_end> ends(finish_reason reason) const;

  /// What ended the answer that is given as choice 0.
  stop_cause stopped_by() const { return choices_.empty() ? stop_cause() : choices_.front().stopped_by; }

  std::uint32_t generated() const { return generated_; } ///< Tokens of all sequences.
  const std::vector<token_id>& tokens(std::uint32_t choice) const { return choices_[choice].tokens; }

private:
  struct answer {
    explicit answer(answer_text what) : text(std::move(what)) {}

    std::vector<token_id> tokens;
    answer_text text;
    std::string unsent;                  ///< The echo until it is sent, or all of a ranked answer's text.
    std::vector<token_logprob> logprobs; ///< Of ranked ones.
    double logprob_sum = 0;
    std::uint32_t logprob_count = 0;
    std::optional<finish_reason> reason;
    stop_cause stopped_by;
  };

  token_delta& delta_for(std::uint32_t choice, std::uint32_t position, deltas& out);
  outcome end_without_tokens(std::uint32_t choice, finish_reason reason, deltas& out);
  void end(answer& a, finish_reason reason, std::string& text);
  std::optional<float> mean_logprob(const answer& a) const;
  std::vector<std::uint32_t> ranking() const;

  answers_options options_;
  std::vector<answer> choices_;
  std::size_t ended_ = 0;
  std::uint32_t generated_ = 0;
  std::uint32_t prompt_logprobs_ = 0; ///< So many have come.
  std::vector<token_logprob> unsent_prompt_logprobs_;
};

} // namespace troupe
