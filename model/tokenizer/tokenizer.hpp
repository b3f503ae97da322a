// Byte-level BPE: text to token ids and back, from the vocabulary of a GGUF file.
//
// A `tokenizer` is immutable; any thread may use one. Encoding comes in slices (`encoder`), so that an actor can
// serve a short prompt between two slices of a long one. An `encoder` and a `detokenizer` belong to one thread at a
// time.
//
// Text is encoded in this order: special tokens are found in it, the leftmost first and the longest of those that
// begin there; what lies between them is cut into words by the model's pre-tokenizer; the merges run within each
// word. Sources: OpenAI's GPT-2 (encoder.py) for bytes as characters; pre_tokenizer_rules.cpp and merges.hpp for
// theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/gguf/file.hpp"
#include "model/text.hpp"
#include "protocol/messages.hpp"

namespace troupe {

inline constexpr std::size_t max_vocabulary_tokens = 4u << 20;
inline constexpr std::size_t max_vocabulary_merges = 16u << 20;
inline constexpr std::size_t max_token_bytes = 4096; ///< Of the name of one token, as the file has it.

/// Types of tokens, as in tokenizer.ggml.token_type.
enum class token_type : std::int32_t {
  normal = 1,
  unknown = 2,      ///< Treated as a control token.
  control = 3,      ///< Parsed in trusted text only; not shown to users.
  user_defined = 4, ///< Text that is one token wherever it stands, in anybody's text.
  unused = 5,       ///< Never made by encoding.
};

/// What a tokenizer is made of; views into a file's metadata, or a test's own. Only read while it is being made.
struct tokenizer_source {
  std::string_view pre; ///< Names the pre-tokenizer.
  std::vector<std::string_view> tokens;
  std::vector<std::int32_t> types; ///< One for each token.
  std::vector<std::string_view> merges;
  std::optional<token_id> bos, eos, eot, eom;
  std::optional<bool> add_bos; ///< Absent: as is usual for `pre`.
};

class encoder;

class tokenizer {
public:
  /// Errors: unsupported (tokenizer.ggml.model or .pre, naming those that are known; a type of token), malformed,
  /// limit_exceeded, not_found (names the key).
  static expected<std::shared_ptr<const tokenizer>> from_gguf(const gguf::file& file);
  static expected<std::shared_ptr<const tokenizer>> create(const tokenizer_source& source);
  ~tokenizer();

  /// Encodes the parts as one text; special tokens are parsed only where a part is trusted; none are added.
  ///
  /// User-defined tokens are parsed in untrusted text too, as the models saw it in training, with one exception:
  /// where one is named like a control token ("<|...|>" in ASCII or full width, or a name that ends generation), it
  /// needs trust as well. So nothing that a user writes can become a control token.
  ///
  /// Invalid UTF-8 is encoded byte by byte, so that decode(encode(x)) = x for any bytes that the vocabulary has. Many
  /// vocabularies lack those that their training text did not contain (SmolLM2: 21, e.g. 0x04 and 0xFF). Such a
  /// byte is left out, as the published tokenizers leave it out; `has_byte` tells.
  std::vector<token_id> encode(const text_parts& parts) const;
  std::vector<token_id> encode(std::string_view text, bool trusted = false) const;
  bool has_byte(unsigned char byte) const;

  /// The bytes that a token stands for (a special token's name where it is one); empty for an id out of range.
  std::string_view bytes_of(token_id token) const;
  std::string decode(std::span<const token_id> tokens) const;

  bool is_special(token_id token) const; ///< Control tokens: not shown to users.
  /// eos, eot and eom of the metadata, and special tokens with a name that is known to be one of them.
  bool ends_generation(token_id token) const;
  std::optional<token_id> bos() const;
  std::optional<token_id> eos() const;
  bool adds_bos() const; ///< tokenizer.ggml.add_bos_token
  std::size_t size() const;

  /// No token stands for more bytes, so a text that is sure to have too many tokens can be refused before it is
  /// encoded.
  std::size_t longest_token_bytes() const;

private:
  friend class encoder;
  struct contents;
  explicit tokenizer(std::unique_ptr<const contents> what);
  std::unique_ptr<const contents> contents_;
};

/// A resumable `encode`, with the same result whatever the slices.
class encoder {
public:
  encoder(std::shared_ptr<const tokenizer> tokens, text_parts parts);
  ~encoder();
  encoder(encoder&&) noexcept;
  encoder& operator=(encoder&&) noexcept;

  /// Encodes at least one and about `bytes` more bytes; true when all is done. Finding words takes a window of some
  /// kilobytes beyond them; a window ends at a space between letters, so a text without any is looked through once.
  bool advance(std::size_t bytes);
  /// How many ids there are so far: an actor may refuse a text that is too long before it is all encoded.
  std::size_t count() const;
  std::vector<token_id> take(); ///< All ids, once `advance` has returned true.

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Turns tokens into text as they come, without ever cutting a UTF-8 character: bytes that may be the start of one
/// are held back (three at most); bytes that cannot become one are given out as U+FFFD, one for each maximal part of
/// a character. The text is the same however the bytes are spread over tokens.
class detokenizer {
public:
  explicit detokenizer(std::shared_ptr<const tokenizer> tokens);
  std::string feed(token_id token); ///< Special tokens give no text.
  std::string feed_bytes(std::string_view bytes);
  void feed(token_id token, std::string& text); ///< As `feed`, appending to `text`.
  void feed_bytes(std::string_view bytes, std::string& text);
  std::string flush(); ///< What is held back, as U+FFFD.
  bool holds_back() const { return !held_.empty(); }

private:
  std::shared_ptr<const tokenizer> tokens_;
  std::string held_;
};

} // namespace troupe
