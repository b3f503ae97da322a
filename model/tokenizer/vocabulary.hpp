// The tokens of a model: what bytes each stands for, which are special, and which merge. Immutable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/merges.hpp"
#include "model/tokenizer/special_tokens.hpp"
#include "model/tokenizer/string_index.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace troupe {

class vocabulary {
public:
  /// Checks every id, type and merge of `source`, and copies what it keeps. Errors: as tokenizer::create.
  static expected<vocabulary> create(const tokenizer_source& source, bool whole_words);

  // The index of special tokens and that of words hold views into `bytes_`, which must not move: copying would make
  // them point into the original, and a moved std::vector keeps its place.
  vocabulary(vocabulary&&) = default;
  vocabulary& operator=(vocabulary&&) = default;

  std::size_t size() const { return flags_.size(); }
  std::size_t longest_token_bytes() const { return longest_token_bytes_; }
  bool contains(token_id id) const { return id >= 0 && static_cast<std::size_t>(id) < size(); }
  std::string_view bytes_of(token_id id) const {
    if (!contains(id))
      return {};
    return {bytes_.data() + begins_[id], begins_[id + 1] - begins_[id]};
  }
  bool is_control(token_id id) const { return contains(id) && flags_[id] & control; }
  bool ends_generation(token_id id) const { return contains(id) && flags_[id] & ends; }

  token_id token_of_byte(unsigned char byte) const { return byte_tokens_[byte]; }
  const merge_table& merges() const { return merges_; }
  const special_token_matcher& special() const { return special_; }
  /// The token that a whole word is; `no_token` where there is none, or the model does not look words up.
  token_id find_word(std::string_view word) const { return words_ ? words_->find(word) : no_token; }

private:
  enum flag : std::uint8_t {
    control = 1,
    ends = 2,
    byte_level = 4, ///< A normal token whose name is written in GPT-2's alphabet of bytes: merges can make it.
  };

  vocabulary() : merges_(0), special_({}) {}
  expected<void> add_tokens(const tokenizer_source& source);
  expected<void> add_merges(const tokenizer_source& source);
  expected<void> mark_ends(const tokenizer_source& source);
  void index_special_tokens(const tokenizer_source& source);
  void index_words();

  std::vector<char> bytes_; // Of all tokens, one after the other; token i begins at begins_[i].
  std::vector<std::uint32_t> begins_;
  std::vector<std::uint8_t> flags_;
  std::size_t longest_token_bytes_ = 0;
  std::array<token_id, 256> byte_tokens_{};
  merge_table merges_;
  special_token_matcher special_;
  std::optional<string_index> words_;
};

} // namespace troupe
