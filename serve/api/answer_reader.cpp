#include "serve/api/answer_reader.hpp"

#include <utility>

namespace troupe::serve {

void answer_reader::feed(const token_delta& delta, answer_part_list& out) {
  const bool thought_before = splitter_.thinking();
  splitter_.feed(delta.text, out);
  undecided_ += static_cast<std::uint32_t>(delta.token_ids.size());
  if (thought_before || splitter_.thinking())
    thoughts_ += std::exchange(undecided_, 0);
  else if (!splitter_.at_start())
    undecided_ = 0;
}

} // namespace troupe::serve
