#include "model/tokenizer/tokenizer.hpp"
#include "model/tokenizer/utf8.hpp"

namespace troupe {

detokenizer::detokenizer(std::shared_ptr<const tokenizer> tokens) : tokens_(std::move(tokens)) {}

void detokenizer::feed(token_id token, std::string& text) {
  if (!tokens_->is_special(token))
    feed_bytes(tokens_->bytes_of(token), text);
}

std::string detokenizer::feed(token_id token) {
  std::string text;
  feed(token, text);
  return text;
}

void detokenizer::feed_bytes(std::string_view bytes, std::string& text) {
  const bool joined = !held_.empty();
  if (joined)
    held_ += bytes;
  auto rest = joined ? std::string_view(held_) : bytes;
  while (!rest.empty()) {
    auto unit = first_utf8_unit(rest);
    if (unit.kind == utf8_kind::partial)
      break;
    text += unit.kind == utf8_kind::character ? rest.substr(0, unit.bytes) : utf8_replacement;
    rest.remove_prefix(unit.bytes);
  }
  if (joined)
    held_.erase(0, held_.size() - rest.size());
  else
    held_ = rest;
}

std::string detokenizer::feed_bytes(std::string_view bytes) {
  std::string text;
  feed_bytes(bytes, text);
  return text;
}

std::string detokenizer::flush() {
  if (held_.empty())
    return {};
  held_.clear(); // The beginning of one character: one replacement.
  return std::string(utf8_replacement);
}

} // namespace troupe
