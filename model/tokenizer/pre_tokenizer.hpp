// Cutting text into the words that byte-pair merges stay within.
//
// Each model was trained with cuts of its own, given as regular expressions; `tokenizer.ggml.pre` names which. They
// run on PCRE2 with its JIT compiler. A `pre_tokenizer` is immutable and may be shared by threads; a `word_splitter`
// belongs to one.
//
// Invariant of every rule, which the encoder relies on to look at a bounded window of a long text: where an ASCII
// letter, a space and an ASCII letter follow each other, there is a cut before the space, and no decision about one
// side of it depends on the other side.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace troupe {

/// One row of the table in pre_tokenizer_rules.cpp.
struct pre_tokenizer_rule {
  std::string_view name; ///< As in tokenizer.ggml.pre.
  /// Run one after the other: each cuts the pieces of the one before it into what it matches and what lies between
  /// the matches; both are pieces. A stage sees nothing beyond the ends of the piece that it cuts.
  std::span<const char* const> stages;
  bool whole_words = false; ///< A word that is itself a token is that token, whatever the merges would make of it.
  bool adds_bos = false;    ///< Where the file has no tokenizer.ggml.add_bos_token.
};

std::span<const pre_tokenizer_rule> pre_tokenizer_rules();

/// nullptr where there is none of that name.
const pre_tokenizer_rule* find_pre_tokenizer_rule(std::string_view name);

class pre_tokenizer {
public:
  /// Errors: internal (PCRE2 lacks Unicode, or refuses a pattern).
  static expected<pre_tokenizer> compile(std::span<const char* const> stages);

private:
  friend class word_splitter;
  struct deleter {
    void operator()(pcre2_real_code_8* code) const;
    void operator()(pcre2_real_match_context_8* context) const;
    void operator()(pcre2_real_match_data_8* data) const;
  };
  struct stage {
    std::unique_ptr<pcre2_real_code_8, deleter> code;
    bool has_jit = false; ///< A system that forbids writable code runs PCRE2's interpreter.
  };
  std::vector<stage> stages_;
  std::unique_ptr<pcre2_real_match_context_8, deleter> context_;
};

/// Gives the words of one text after another, each when it is asked for.
class word_splitter {
public:
  /// `rules` outlives the splitter.
  explicit word_splitter(const pre_tokenizer& rules);

  /// Begins a text: well-formed UTF-8, which stays where it is until the last word was given.
  void start(std::string_view text);

  /// The next word, never empty; false at the end. All words together are the text.
  bool next(std::string_view& word) { return next_of(levels_.size(), word); }

private:
  // What one stage has left of the piece that it cuts, and its next match, if that was found already.
  struct level {
    std::string_view piece;
    std::size_t position = 0;
    std::size_t match_begin = 0;
    std::size_t match_end = 0;
  };
  bool next_of(std::size_t depth, std::string_view& word);
  void find_match(std::size_t index, level& state);

  const pre_tokenizer* rules_;
  std::string_view text_;
  std::vector<level> levels_;
  std::unique_ptr<pcre2_real_match_data_8, pre_tokenizer::deleter> match_;
};

} // namespace troupe
