#include "model/tokenizer/vocabulary.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace troupe {
namespace {

// GPT-2 writes the bytes of a token as printable characters: those that are printable in Latin-1 as themselves, the
// others, in order, from U+0100. Gives the byte for each such character, and -1 for those that are none.
constexpr std::size_t alphabet_end = 0x100 + 68;

constexpr std::array<std::int16_t, alphabet_end> make_alphabet() {
  std::array<std::int16_t, alphabet_end> table{};
  table.fill(-1);
  std::size_t next = 0x100;
  for (std::int16_t byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    table[printable ? static_cast<std::size_t>(byte) : next++] = byte;
  }
  return table;
}

constexpr auto alphabet = make_alphabet();

// Appends the bytes that `name` is written for; false, and nothing appended, where it is not in the alphabet.
bool append_byte_level(std::string_view name, std::vector<char>& out) {
  auto before = out.size();
  for (std::size_t i = 0; i < name.size(); ++i) {
    std::size_t code = static_cast<unsigned char>(name[i]);
    // Two bytes of UTF-8 reach as far as the alphabet does.
    if (code >= 0xC2 && code <= 0xC5 && i + 1 < name.size())
      code = (code & 0x1F) << 6 | (static_cast<unsigned char>(name[++i]) & 0x3F);
    else if (code >= 0x80)
      code = alphabet_end;
    if (code >= alphabet_end || alphabet[code] < 0) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(alphabet[code]));
  }
  return true;
}

// Names that end an answer, whether or not the file says so. (Where "<|return|>" does, "<|end|>" ends only a part.)
constexpr std::string_view end_names[] = {
  "<|im_end|>", "<|endoftext|>", "<|end_of_text|>",    "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>",
  "<|call|>",   "<end_of_turn>", "<end_of_utterance>", "<EOT>",      "[EOT]",      "[EOS]",   "<｜end▁of▁sentence｜>",
};

bool is_end_name(std::string_view name) {
  return std::find(std::begin(end_names), std::end(end_names), name) != std::end(end_names);
}

bool looks_like_control(std::string_view name) {
  return (name.starts_with("<|") && name.ends_with("|>")) || (name.starts_with("<｜") && name.ends_with("｜>")) ||
         is_end_name(name);
}

bool is_special_type(std::int32_t type) {
  return type >= static_cast<std::int32_t>(token_type::unknown) &&
         type <= static_cast<std::int32_t>(token_type::user_defined);
}

// Converters fill a vocabulary up to the size of the embedding with such names; no text means them.
bool is_filler(std::string_view name, std::size_t id) {
  return name == fmt::format("[PAD{}]", id);
}

} // namespace

expected<vocabulary> vocabulary::create(const tokenizer_source& source, bool whole_words) {
  vocabulary result;
  if (auto ok = result.add_tokens(source); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = result.add_merges(source); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = result.mark_ends(source); !ok)
    return tl::unexpected(ok.error());
  result.index_special_tokens(source);
  if (whole_words)
    result.index_words();
  return result;
}

expected<void> vocabulary::add_tokens(const tokenizer_source& source) {
  auto count = source.tokens.size();
  if (count == 0)
    return fail(errc::malformed, "tokenizer.ggml.tokens is empty.");
  if (count > max_vocabulary_tokens)
    return fail(errc::limit_exceeded, fmt::format("tokenizer.ggml.tokens has {} tokens; at most {} are supported.",
                                                  count, max_vocabulary_tokens));
  if (source.types.size() != count)
    return fail(errc::malformed,
                fmt::format("tokenizer.ggml.token_type has {} elements for {} tokens.", source.types.size(), count));
  std::size_t total = 0;
  for (auto name : source.tokens)
    total += name.size();
  if (total > UINT32_MAX)
    return fail(errc::limit_exceeded, "tokenizer.ggml.tokens has over 4 GiB of text.");
  bytes_.reserve(total);
  begins_.reserve(count + 1);
  flags_.reserve(count);
  byte_tokens_.fill(no_token);
  for (std::size_t id = 0; id < count; ++id) {
    auto name = source.tokens[id];
    if (name.size() > max_token_bytes)
      return fail(errc::limit_exceeded,
                  fmt::format("tokenizer.ggml.tokens[{}] has {} bytes; at most {} are supported.", id, name.size(),
                              max_token_bytes));
    auto type = static_cast<token_type>(source.types[id]);
    if (type < token_type::normal || type > token_type::unused)
      return fail(errc::unsupported,
                  fmt::format("tokenizer.ggml.token_type[{}] is {}, which byte-level BPE does not have.", id,
                              source.types[id]));
    auto begin = bytes_.size();
    begins_.push_back(static_cast<std::uint32_t>(begin));
    std::uint8_t flags = type == token_type::control || type == token_type::unknown ? control : 0;
    if (type == token_type::normal && append_byte_level(name, bytes_))
      flags |= byte_level;
    else
      bytes_.insert(bytes_.end(), name.begin(), name.end());
    flags_.push_back(flags);
    longest_token_bytes_ = std::max(longest_token_bytes_, bytes_.size() - begin);
    if (flags & byte_level && bytes_.size() == begin + 1)
      if (auto& token = byte_tokens_[static_cast<unsigned char>(bytes_[begin])]; token == no_token)
        token = static_cast<token_id>(id);
  }
  begins_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  return {};
}

expected<void> vocabulary::add_merges(const tokenizer_source& source) {
  if (source.merges.size() > max_vocabulary_merges)
    return fail(errc::limit_exceeded, fmt::format("tokenizer.ggml.merges has {} elements; at most {} are supported.",
                                                  source.merges.size(), max_vocabulary_merges));
  string_index names(source.tokens.size());
  for (std::size_t id = 0; id < source.tokens.size(); ++id)
    if (flags_[id] & byte_level)
      names.add(source.tokens[id], static_cast<token_id>(id));
  merges_ = merge_table(source.merges.size());
  std::string joined;
  for (std::size_t rank = 0; rank < source.merges.size(); ++rank) {
    auto merge = source.merges[rank];
    auto space = merge.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos)
      return fail(errc::malformed,
                  fmt::format("tokenizer.ggml.merges[{}] is not two tokens with a space between them.", rank));
    joined.assign(merge.substr(0, space)).append(merge.substr(space + 1));
    auto left = names.find(merge.substr(0, space));
    auto right = names.find(merge.substr(space + 1));
    auto result = names.find(joined);
    // A merge that made a control token would let a user write one.
    if (left == no_token || right == no_token || result == no_token)
      return fail(
        errc::malformed,
        fmt::format(
          "tokenizer.ggml.merges[{}] needs a token that is not among the normal ones of tokenizer.ggml.tokens.",
          rank));
    merges_.add(left, right, {static_cast<std::uint32_t>(rank), result});
  }
  return {};
}

expected<void> vocabulary::mark_ends(const tokenizer_source& source) {
  const std::pair<const char*, std::optional<token_id>> ids[] = {
    {"bos", source.bos}, {"eos", source.eos}, {"eot", source.eot}, {"eom", source.eom}};
  for (auto [name, id] : ids) {
    if (id && !contains(*id))
      return fail(errc::malformed,
                  fmt::format("tokenizer.ggml.{}_token_id is {}, but there are {} tokens.", name, *id, size()));
    if (id && std::string_view(name) != "bos")
      flags_[*id] |= ends;
  }
  bool has_return = false;
  for (std::size_t id = 0; id < size(); ++id)
    has_return |= is_special_type(source.types[id]) && source.tokens[id] == "<|return|>";
  for (std::size_t id = 0; id < size(); ++id)
    if (is_special_type(source.types[id]) && is_end_name(source.tokens[id]) &&
        !(has_return && source.tokens[id] == "<|end|>"))
      flags_[id] |= ends;
  return {};
}

void vocabulary::index_special_tokens(const tokenizer_source& source) {
  std::vector<special_token> tokens;
  for (std::size_t id = 0; id < size(); ++id) {
    auto name = bytes_of(static_cast<token_id>(id));
    auto user_defined = source.types[id] == static_cast<std::int32_t>(token_type::user_defined);
    if (!name.empty() && (flags_[id] & control || (user_defined && !is_filler(name, id))))
      tokens.push_back({name, static_cast<token_id>(id), !user_defined || looks_like_control(name)});
  }
  special_ = special_token_matcher(std::move(tokens));
}

void vocabulary::index_words() {
  words_.emplace(size());
  for (std::size_t id = 0; id < size(); ++id)
    if (flags_[id] & byte_level)
      words_->add(bytes_of(static_cast<token_id>(id)), static_cast<token_id>(id));
}

} // namespace troupe
