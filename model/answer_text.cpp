#include "model/answer_text.hpp"

#include <algorithm>

namespace troupe {

namespace {

/// How many bytes at the end of `text` are a beginning of `stop`, but not all of it.
std::size_t overlap(const std::string& text, const std::string& stop) {
  for (auto length = std::min(text.size(), stop.size() - 1); length > 0; --length)
    if (text.compare(text.size() - length, length, stop, 0, length) == 0)
      return length;
  return 0;
}

} // namespace

answer_text::answer_text(std::shared_ptr<const tokenizer> tokens, std::vector<std::string> stop_strings,
                         std::uint32_t min_tokens)
    : text_(std::move(tokens)), stop_strings_(std::move(stop_strings)), min_tokens_(min_tokens) {}

void answer_text::feed(token_id token, std::string& text) {
  if (stopped())
    return;
  if (stop_strings_.empty())
    return text_.feed(token, text);
  text_.feed(token, held_);
  if (tokens_++ < min_tokens_)
    too_early_ = held_.size();
  release(false, text);
}

void answer_text::finish(std::string& text) {
  if (stopped())
    return;
  held_ += text_.flush();
  if (tokens_ <= min_tokens_)
    too_early_ = held_.size();
  release(true, text);
}

std::string answer_text::feed(token_id token) {
  std::string text;
  feed(token, text);
  return text;
}

std::string answer_text::finish() {
  std::string text;
  finish(text);
  return text;
}

answer_text::match answer_text::first_stop() const {
  match first;
  for (std::size_t i = 0; i < stop_strings_.size(); ++i) {
    const auto& stop = stop_strings_[i];
    const auto at = held_.find(stop, too_early_ < stop.size() ? 0 : too_early_ - stop.size() + 1);
    if (at < first.at ||
        (at != std::string::npos && at == first.at && stop.size() < stop_strings_[first.stop].size()))
      first = {at, i};
  }
  return first;
}

void answer_text::release(bool at_end, std::string& text) {
  if (const auto first = first_stop(); first.at != std::string::npos) {
    stopped_ = first.stop;
    text.append(held_, 0, first.at);
    held_.clear();
    return;
  }
  std::size_t keep = 0;
  if (!at_end)
    for (const auto& stop : stop_strings_)
      keep = std::max(keep, overlap(held_, stop));
  const auto certain = held_.size() - keep;
  text.append(held_, 0, certain);
  held_.erase(0, certain);
  too_early_ -= std::min(too_early_, certain);
}

} // namespace troupe
