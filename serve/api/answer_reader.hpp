// One answer of the engine as its text is taken apart, with its tokens counted.
#pragma once

#include "protocol/messages.hpp"
#include "serve/api/answer_parts.hpp"

namespace troupe::serve {

class answer_reader {
public:
  answer_reader() = default; ///< All is content.
  answer_reader(tool_format tools, reasoning_format reasoning) : splitter_(tools, reasoning) {}

  /// Appends what is certain now.
  void feed(const token_delta& delta, answer_part_list& out);

  /// The answer is at its end: what was held back.
  void finish(answer_part_list& out) { splitter_.finish(out); }

  /// Tool calls so far.
  std::uint32_t calls() const { return splitter_.calls(); }

  /// Tokens of what the model thought, with its marks. Where a step brings several tokens, all of one in which a thought ends.
  std::uint32_t thought_tokens() const { return thoughts_; }

private:
  answer_splitter splitter_;
  std::uint32_t thoughts_ = 0;
  std::uint32_t undecided_ = 0; ///< Tokens that may be those of the mark that opens a thought.
};

} // namespace troupe::serve
