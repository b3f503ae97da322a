#include "model/tokenizer/tokenizer.hpp"
#include "model/tokenizer/utf8.hpp"

namespace troupe {

detokenizer::detokenizer(std::shared_ptr<const tokenizer> tokens) : tokens_(std::move(tokens)) {}

std::string detokenizer::feed(token_id token) {
  if (tokens_->is_special(token))
    return {};
  return feed_bytes(tokens_->bytes_of(token));
}

std::string detokenizer::feed_bytes(std::string_view bytes) {
  held_ += bytes;
  std::string text;
  std::string_view rest = held_;
  while (!rest.empty()) {
    auto unit = first_utf8_unit(rest);
    if (unit.kind == utf8_kind::partial)
      break;
    text += unit.kind == utf8_kind::character ? rest.substr(0, unit.bytes) : utf8_replacement;
    rest.remove_prefix(unit.bytes);
  }
  held_.erase(0, held_.size() - rest.size());
  return text;
}

std::string detokenizer::flush() {
  if (held_.empty())
    return {};
  held_.clear(); // The beginning of one character: one replacement.
  return std::string(utf8_replacement);
}

} // namespace troupe
