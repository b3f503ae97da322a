#include "model/tokenizer/special_tokens.hpp"

#include <algorithm>

namespace troupe {
namespace {

unsigned char byte_at(std::string_view text, std::size_t index) {
  return static_cast<unsigned char>(text[index]);
}

} // namespace

special_token_matcher::special_token_matcher(std::vector<special_token> tokens) : tokens_(std::move(tokens)) {
  std::stable_sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (std::uint32_t i = 0; i < tokens_.size(); ++i) {
    auto& range = begins_[byte_at(tokens_[i].name, 0)];
    if (range.low == range.high)
      range.low = i;
    range.high = i + 1;
  }
}

// Narrows the sorted names down to those that agree with one more byte of the text, again and again; the first of
// them is complete before any longer one.
std::optional<special_token_matcher::match> special_token_matcher::longest_at(std::string_view text,
                                                                              std::size_t trusted) const {
  std::optional<match> found;
  auto [low, high] = begins_[byte_at(text, 0)];
  for (std::size_t depth = 1; low < high; ++depth) {
    for (; low < high && tokens_[low].name.size() == depth; ++low)
      if ((!found || found->bytes < depth) && (!tokens_[low].needs_trust || depth <= trusted))
        found = match{tokens_[low].id, depth};
    if (depth == text.size())
      break;
    auto byte = byte_at(text, depth);
    auto begin = tokens_.begin();
    auto first =
      std::partition_point(begin + low, begin + high, [&](const auto& t) { return byte_at(t.name, depth) < byte; });
    auto last =
      std::partition_point(first, begin + high, [&](const auto& t) { return byte_at(t.name, depth) == byte; });
    low = static_cast<std::uint32_t>(first - begin);
    high = static_cast<std::uint32_t>(last - begin);
  }
  return found;
}

} // namespace troupe
