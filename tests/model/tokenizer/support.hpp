// What the tests of the tokenizer share: vocabularies made by hand, the real model, and random text.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace troupe::test {

/// `expected`'s value, or a failed test that says why there is none.
template <class T>
T value_of(expected<T> result) {
  if (!result)
    BOOST_FAIL(result.error().message);
  return std::move(*result);
}

inline std::filesystem::path from_environment(const char* variable, const char* below_home) {
  if (const char* path = std::getenv(variable))
    return path;
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : "") / below_home;
}

inline std::filesystem::path model_path() {
  return from_environment("TROUPE_TEST_MODEL", ".cache/troupe/models/SmolLM2-135M-Instruct.Q4_1.gguf");
}

/// A precondition: tests of the real model are reported as skipped where it is missing.
inline boost::test_tools::assertion_result has_model(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result result(std::filesystem::exists(model_path()));
  if (!result)
    result.message() << "there is no model at " << model_path() << " (TROUPE_TEST_MODEL)";
  return result;
}

inline std::shared_ptr<const tokenizer> tokenizer_of(const std::filesystem::path& path) {
  auto file = value_of(gguf::open(path));
  return value_of(tokenizer::from_gguf(*file));
}

inline const std::shared_ptr<const tokenizer>& smollm2() {
  static const auto tokens = tokenizer_of(model_path());
  return tokens;
}

/// GPT-2's character for a byte, in UTF-8.
inline std::string byte_name(unsigned char byte) {
  unsigned code = byte;
  if (byte <= 0x20)
    code = 0x100u + byte;
  else if (byte >= 0x7F && byte <= 0xA0)
    code = 0x121u + (byte - 0x7Fu);
  else if (byte == 0xAD)
    code = 0x143;
  if (code < 0x80)
    return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

/// A vocabulary of the 256 bytes (id = byte) and what a test adds. Strings live here; `source()` looks at them.
struct small_vocabulary {
  std::string pre = "gpt-2";
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;

  small_vocabulary() {
    for (int byte = 0; byte < 256; ++byte)
      add(byte_name(static_cast<unsigned char>(byte)));
  }
  token_id add(std::string name, token_type type = token_type::normal) {
    tokens.push_back(std::move(name));
    types.push_back(static_cast<std::int32_t>(type));
    return static_cast<token_id>(tokens.size() - 1);
  }
  /// The token of two others together.
  token_id merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    return add(left + right);
  }
  tokenizer_source source() const {
    tokenizer_source result;
    result.pre = pre;
    result.tokens.assign(tokens.begin(), tokens.end());
    result.types = types;
    result.merges.assign(merges.begin(), merges.end());
    return result;
  }
  std::shared_ptr<const tokenizer> make() const { return value_of(tokenizer::create(source())); }
};

inline void append_utf8(std::string& text, std::uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | code >> 6);
    text += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | code >> 12);
    text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | code >> 18);
    text += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/// Characters of every kind that pre-tokenizers tell apart, many of them next to others of their kind.
inline std::string random_text(std::mt19937& random, std::size_t characters) {
  static constexpr std::uint32_t kinds[][8] = {
    {' ', ' ', ' ', '\n', '\r', '\t', 0x85, 0x3000},
    {'a', 's', 't', 'l', 'R', 'E', 'v', 'D'},
    {'0', '1', '7', '9', 0x0663, 0x00BD, 0x2167, 0xFF15},
    {'\'', '\'', '.', ',', '!', '(', '|', '-'},
    {'=', '+', '<', '$', '^', '~', '`', '_'},
    {0x4E2D, 0x6587, 0x3042, 0x30AB, 0xAC00, 0x0915, 0x093E, 0x0301},
    {0x00E9, 0x0410, 0x0431, 0x01C5, 0x02B0, 0x1F680, 0x200D, 0xFE0F},
    {0x00A0, 0x2003, 0x180E, 0x200B, 0x0001, 0x007F, 0x17F, 0xFFFD},
  };
  std::string text;
  for (std::size_t i = 0; i < characters;) {
    const auto& kind = kinds[random() % std::size(kinds)];
    for (auto run = random() % 4 + 1; run > 0 && i < characters; --run, ++i)
      append_utf8(text, kind[random() % std::size(kind)]);
  }
  return text;
}

inline std::string random_bytes(std::mt19937& random, std::size_t count) {
  std::string bytes(count, '\0');
  for (auto& byte : bytes)
    byte = static_cast<char>(random());
  return bytes;
}

} // namespace troupe::test
