#include "model/tokenizer/encoding.hpp"

#include <algorithm>
#include <utility>

#include "model/tokenizer/utf8.hpp"

namespace troupe {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

} // namespace

trusted_text::trusted_text(const text_parts& parts) {
  std::size_t total = 0;
  for (const auto& part : parts)
    total += part.text.size();
  text_.reserve(total);
  for (const auto& part : parts)
    append(part.text, part.trusted);
}

trusted_text::trusted_text(std::string_view text, bool trusted) {
  append(text, trusted);
}

void trusted_text::append(std::string_view text, bool trusted) {
  auto begin = text_.size();
  text_ += text;
  if (!trusted || text.empty())
    return;
  if (!trusted_.empty() && trusted_.back().end == begin)
    trusted_.back().end = text_.size();
  else
    trusted_.push_back({begin, text_.size()});
}

std::size_t trusted_text::trusted_from(std::size_t position) {
  while (current_ < trusted_.size() && trusted_[current_].end <= position)
    ++current_;
  return current_ < trusted_.size() && trusted_[current_].begin <= position ? trusted_[current_].end - position : 0;
}

encoding::encoding(const vocabulary& tokens, const pre_tokenizer& rules, trusted_text text, std::size_t window)
    : tokens_(&tokens), text_(std::move(text)), window_(window), splitter_(rules), merger_(tokens.merges()) {}

bool encoding::advance(std::size_t bytes) {
  bytes = std::max<std::size_t>(bytes, 1);
  std::size_t done = 0;
  while (done < bytes && !at_end()) {
    std::string_view word;
    if (merging_) {
      // A step costs about what a byte of ordinary text does.
      done += merger_.advance(bytes - done);
      if (merger_.done()) {
        merger_.take(ids_);
        merging_ = false;
      }
    } else if (splitter_.next(word)) {
      splitting_ += word.size();
      done += encode_word(word);
    } else if (encode_invalid_or_special()) {
      ++done;
    } else {
      scan();
    }
  }
  return at_end();
}

// Gives the splitter what comes before the next special token or byte that is no UTF-8, or a window of it.
void encoding::scan() {
  auto text = text_.text();
  const auto& special = tokens_->special();
  auto begin = scanned_;
  auto position = begin;
  while (position < text.size()) {
    auto lead = static_cast<unsigned char>(text[position]);
    if (special.may_begin(lead) && special.longest_at(text.substr(position), text_.trusted_from(position)))
      break;
    if (lead == ' ' && position - begin >= window_ && may_cut_at(position))
      break;
    std::size_t bytes = 1;
    if (lead >= 0x80) {
      auto unit = first_utf8_unit(text.substr(position));
      if (unit.kind != utf8_kind::character)
        break;
      bytes = unit.bytes;
    }
    position += bytes;
  }
  scanned_ = position;
  splitter_.start(text.substr(begin, position - begin));
}

bool encoding::may_cut_at(std::size_t position) const {
  auto text = text_.text();
  return position > 0 && position + 1 < text.size() && is_letter(text[position - 1]) && is_letter(text[position + 1]);
}

// What `scan` stopped at, unless that was only the end of a window.
bool encoding::encode_invalid_or_special() {
  auto text = text_.text();
  auto position = scanned_;
  auto rest = text.substr(position);
  auto lead = static_cast<unsigned char>(rest[0]);
  if (tokens_->special().may_begin(lead))
    if (auto match = tokens_->special().longest_at(rest, text_.trusted_from(position))) {
      ids_.push_back(match->id);
      splitting_ = scanned_ = position + match->bytes;
      return true;
    }
  if (lead < 0x80 || first_utf8_unit(rest).kind == utf8_kind::character)
    return false;
  if (auto token = tokens_->token_of_byte(lead); token != no_token)
    ids_.push_back(token);
  splitting_ = scanned_ = position + 1;
  return true;
}

// Encodes a word, or begins to if it is long; returns how many bytes of work were done.
std::size_t encoding::encode_word(std::string_view word) {
  if (auto whole = tokens_->find_word(word); whole != no_token) {
    ids_.push_back(whole);
    return word.size();
  }
  symbols_.resize(word.size());
  std::transform(word.begin(), word.end(), symbols_.begin(),
                 [this](char byte) { return tokens_->token_of_byte(static_cast<unsigned char>(byte)); });
  if (word.size() > merger::short_word) {
    merger_.start(symbols_);
    merging_ = true;
    return 1;
  }
  auto count = merger_.merge_short(symbols_);
  for (std::size_t i = 0; i < count; ++i)
    if (symbols_[i] != no_token)
      ids_.push_back(symbols_[i]);
  return word.size();
}

} // namespace troupe
