// Text that remembers where it came from.
#pragma once

#include <string>
#include <vector>

namespace troupe {

/// A rendered chat is made of text of the template, in which "<|im_start|>" is a control token, and of text of the
/// user, in which it is thirteen characters. A tokenizer parses special tokens only where `trusted` is set.
struct text_part {
  std::string text;
  bool trusted = false;
  bool operator==(const text_part&) const = default;
};

using text_parts = std::vector<text_part>;

} // namespace troupe
