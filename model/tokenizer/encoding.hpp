// One text on its way to token ids, in steps of bounded work. Belongs to one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text.hpp"
#include "model/tokenizer/merges.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/vocabulary.hpp"

namespace troupe {

/// Parts of text as one, with the stretches of it that are trusted.
class trusted_text {
public:
  trusted_text() = default;
  explicit trusted_text(const text_parts& parts);
  trusted_text(std::string_view text, bool trusted);

  std::string_view text() const { return text_; }
  /// How many bytes from `position` on are trusted without a break. Positions must not go down from call to call.
  std::size_t trusted_from(std::size_t position);

private:
  struct stretch {
    std::size_t begin;
    std::size_t end;
  };
  void append(std::string_view text, bool trusted);

  std::string text_;
  std::vector<stretch> trusted_; // In order; none touches the next.
  std::size_t current_ = 0;
};

class encoding {
public:
  /// A stretch of text that is handed to the pre-tokenizer ends, at the latest, at the first space between two ASCII
  /// letters after so many bytes; see the invariant in pre_tokenizer.hpp.
  static constexpr std::size_t window_bytes = 16u << 10;

  /// `tokens` and `rules` outlive the encoding.
  encoding(const vocabulary& tokens, const pre_tokenizer& rules, trusted_text text,
           std::size_t window = window_bytes);

  encoding(const encoding&) = delete;
  encoding& operator=(const encoding&) = delete;

  /// Encodes at least one and about `bytes` more bytes; true when all is done.
  bool advance(std::size_t bytes);
  std::size_t count() const { return ids_.size(); }
  std::vector<token_id> take() { return std::move(ids_); }

private:
  void scan();
  bool encode_invalid_or_special();
  std::size_t encode_word(std::string_view word);
  bool may_cut_at(std::size_t position) const;
  bool at_end() const { return !merging_ && splitting_ == scanned_ && scanned_ == text_.text().size(); }

  const vocabulary* tokens_;
  trusted_text text_;
  std::size_t window_;
  word_splitter splitter_;
  merger merger_;
  std::size_t splitting_ = 0; // All before this is encoded, or is the word that is being merged.
  std::size_t scanned_ = 0;   // The splitter has been given all before this.
  bool merging_ = false;      // A long word is under way.
  std::vector<token_id> symbols_;
  std::vector<token_id> ids_;
};

} // namespace troupe
