#include "model/answer_text.hpp"

#include <algorithm>

namespace troupe {

namespace {

/// How many bytes at the end of `text` are a beginning of `stop`.
std::size_t overlap(const std::string& text, const std::string& stop) {
  for (auto length = std::min(text.size(), stop.size()); length > 0; --length)
    if (text.compare(text.size() - length, length, stop, 0, length) == 0)
      return length;
  return 0;
}

} // namespace

answer_text::answer_text(std::shared_ptr<const tokenizer> tokens, std::vector<std::string> stop_strings)
    : text_(std::move(tokens)), stop_strings_(std::move(stop_strings)) {}

std::string answer_text::feed(token_id token) {
  if (stopped_)
    return {};
  held_ += text_.feed(token);
  return release(false);
}

std::string answer_text::finish() {
  if (stopped_)
    return {};
  held_ += text_.flush();
  return release(true);
}

std::string answer_text::release(bool at_end) {
  auto cut = std::string::npos;
  for (const auto& stop : stop_strings_)
    cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    held_.resize(cut);
    return std::exchange(held_, {});
  }
  std::size_t keep = 0;
  if (!at_end)
    for (const auto& stop : stop_strings_)
      keep = std::max(keep, overlap(held_, stop));
  auto result = held_.substr(0, held_.size() - keep);
  held_.erase(0, result.size());
  return result;
}

} // namespace troupe
