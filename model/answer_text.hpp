// The text of one answer as its tokens come: whole UTF-8 characters, and nothing that may turn out to be a stop
// string.
//
// Owner: the stream actor, one for each request. No actor, no clock.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.hpp"

namespace troupe {

class answer_text {
public:
  answer_text(std::shared_ptr<const tokenizer> tokens, std::vector<std::string> stop_strings);

  /// Takes one token and gives the text that is certain now, which is often none.
  std::string feed(token_id token);

  /// A stop string has appeared. What comes after, and it itself, is never given out.
  bool stopped() const { return stopped_; }

  /// The answer is at its end: what was held back.
  std::string finish();

private:
  std::string release(bool at_end);

  detokenizer text_;
  std::vector<std::string> stop_strings_;
  std::string held_;
  bool stopped_ = false;
};

} // namespace troupe
