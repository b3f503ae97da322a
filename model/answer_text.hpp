// The text of one answer as its tokens come: whole UTF-8 characters, and nothing that may turn out to be a stop
// string.
//
// A stop string counts when it is completed by a token after the first `min_tokens`; text before may be its beginning.
//
// Owner: the stream actor, one for each answer. No actor, no clock.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.hpp"

namespace troupe {

class answer_text {
public:
  answer_text(std::shared_ptr<const tokenizer> tokens, std::vector<std::string> stop_strings,
              std::uint32_t min_tokens = 0);

  /// Takes one token and appends the text that is certain now, which is often none.
  void feed(token_id token, std::string& text);

  /// A stop string has appeared. What comes after, and it itself, is never given out.
  bool stopped() const { return stopped_.has_value(); }

  /// Which one, where one has. Of several that begin at the same place the shortest: it is complete before the others.
  const std::string& stopped_by() const { return stop_strings_[*stopped_]; }

  /// The answer is at its end: appends what was held back.
  void finish(std::string& text);

  std::string feed(token_id token);
  std::string finish();

private:
  void release(bool at_end, std::string& text);
  struct match {
    std::size_t at = std::string::npos; ///< In `held_`; npos: there is none.
    std::size_t stop = 0;               ///< Index in `stop_strings_`.
  };
  match first_stop() const;

  detokenizer text_;
  std::vector<std::string> stop_strings_;
  std::uint32_t min_tokens_;
  std::uint32_t tokens_ = 0;           ///< Fed so far.
  std::string held_;                   ///< Empty where there are no stop strings.
  std::size_t too_early_ = 0;          ///< A stop string that ends within so many bytes of `held_` does not count.
  std::optional<std::size_t> stopped_; ///< Index in `stop_strings_`.
};

} // namespace troupe
