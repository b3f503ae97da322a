#include "model/tokenizer/utf8.hpp"
#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(detokenizing)

namespace {

const std::shared_ptr<const tokenizer>& bytes_only() {
  static const auto tokens = [] {
    small_vocabulary vocabulary;
    vocabulary.add("<|x|>", token_type::control); // Id 256.
    return vocabulary.make();
  }();
  return tokens;
}

// What the detokenizer gives for pieces of random sizes up to `largest`.
std::string in_pieces(std::string_view bytes, std::size_t largest, std::mt19937& random) {
  detokenizer out(bytes_only());
  std::string text;
  while (!bytes.empty()) {
    auto size = std::min<std::size_t>(1 + random() % largest, bytes.size());
    auto piece = out.feed_bytes(bytes.substr(0, size));
    // Each piece is well-formed by itself.
    for (std::string_view rest = piece; !rest.empty();) {
      auto unit = first_utf8_unit(rest);
      BOOST_REQUIRE(unit.kind == utf8_kind::character);
      rest.remove_prefix(unit.bytes);
    }
    text += piece;
    bytes.remove_prefix(size);
  }
  return text + out.flush();
}

} // namespace

BOOST_AUTO_TEST_CASE(every_character_is_one_and_none_of_its_beginnings_is) {
  for (std::uint32_t code = 0; code <= 0x10FFFF; code += code < 0x3000 ? 1 : 61) {
    if (code >= 0xD800 && code <= 0xDFFF)
      continue;
    std::string text;
    append_utf8(text, code);
    auto whole = first_utf8_unit(text + "a");
    BOOST_REQUIRE(whole.kind == utf8_kind::character && whole.bytes == text.size());
    for (std::size_t size = 1; size < text.size(); ++size) {
      auto part = first_utf8_unit(std::string_view(text).substr(0, size));
      BOOST_REQUIRE(part.kind == utf8_kind::partial && part.bytes == size);
    }
  }
}

// The examples of the Unicode Standard, section 3.9, "U+FFFD Substitution of Maximal Subparts".
BOOST_AUTO_TEST_CASE(invalid_bytes_become_one_replacement_for_each_maximal_part) {
  const std::pair<std::string, std::string> examples[] = {
    {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "rrrrrrrr\x41"},    // Overlong forms.
    {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "rrrrrrrr\x41"},    // Surrogates.
    {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "rrrrr\x41rr\x42"}, // Beyond the last character; stray continuations.
    {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "rrrr\x41"},        // Cut short.
  };
  std::mt19937 random(1);
  for (const auto& [bytes, pattern] : examples) {
    std::string expected_text;
    for (char c : pattern)
      expected_text += c == 'r' ? std::string(utf8_replacement) : std::string(1, c);
    for (int round = 0; round < 20; ++round)
      BOOST_TEST(in_pieces(bytes, 1 + round % 4, random) == expected_text);
  }
}

BOOST_AUTO_TEST_CASE(any_split_of_valid_text_gives_the_text) {
  std::mt19937 random(2);
  for (int round = 0; round < 500; ++round) {
    auto text = random_text(random, random() % 60);
    BOOST_TEST(in_pieces(text, 1 + random() % 5, random) == text);
  }
}

BOOST_AUTO_TEST_CASE(how_bytes_are_split_does_not_matter_even_where_they_are_invalid) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    auto bytes =
      random_text(random, random() % 20) + random_bytes(random, random() % 8) + random_text(random, random() % 20);
    auto whole = in_pieces(bytes, bytes.size() + 1, random);
    BOOST_TEST(in_pieces(bytes, 1, random) == whole);
    BOOST_TEST(in_pieces(bytes, 3, random) == whole);
  }
}

BOOST_AUTO_TEST_CASE(the_beginning_of_a_character_is_held_back_until_it_is_one_or_cannot_be) {
  detokenizer out(bytes_only());
  BOOST_TEST(out.feed(0xF0) == "");
  BOOST_TEST(out.feed(0x9F) == "");
  BOOST_TEST(out.feed(0x98) == "");
  BOOST_TEST(out.holds_back());
  BOOST_TEST(out.feed(0x81) == "\xF0\x9F\x98\x81");
  BOOST_TEST(!out.holds_back());
  BOOST_TEST(out.feed(0xE2) == "");
  BOOST_TEST(out.feed('a') == "\xEF\xBF\xBD"
                              "a");
  BOOST_TEST(out.feed(0xE2) == "");
  BOOST_TEST(out.flush() == "\xEF\xBF\xBD");
  BOOST_TEST(out.flush() == "");
}

BOOST_AUTO_TEST_CASE(special_tokens_and_ids_out_of_range_give_no_text_and_break_no_character) {
  detokenizer out(bytes_only());
  BOOST_TEST(out.feed(0xC3) == "");
  BOOST_TEST(out.feed(256) == "");
  BOOST_TEST(out.feed(100000) == "");
  BOOST_TEST(out.feed(0xA9) == "\xC3\xA9");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
