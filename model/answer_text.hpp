// The text of one answer as its tokens come: whole UTF-8 characters, and nothing that may turn out to be a stop
// string.
//
// A stop string counts when it is completed by a token after the first `min_tokens`; text before may be its beginning.
//
// Owner: the stream actor, one for each answer. No actor, no clock.
#pragma once

#include <memory>
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
  bool stopped() const { return stopped_; }

  /// The answer is at its end: appends what was held back.
  void finish(std::string& text);

  std::string feed(token_id token);
  std::string finish();

private:
  void release(bool at_end, std::string& text);
  std::size_t first_stop() const;

  detokenizer text_;
  std::vector<std::string> stop_strings_;
  std::uint32_t min_tokens_;
  std::uint32_t tokens_ = 0;  ///< Fed so far.
  std::string held_;          ///< Empty where there are no stop strings.
  std::size_t too_early_ = 0; ///< A stop string that ends within so many bytes of `held_` does not count.
  bool stopped_ = false;
};

} // namespace troupe
