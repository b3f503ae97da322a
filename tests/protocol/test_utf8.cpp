#include <boost/test/unit_test.hpp>

#include "protocol/utf8.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(utf8)

namespace {

std::string from_code_point(std::uint32_t c) {
  auto tail = [&](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80)
    return {static_cast<char>(c)};
  if (c < 0x800)
    return {static_cast<char>(0xc0 | (c >> 6)), tail(0)};
  if (c < 0x10000)
    return {static_cast<char>(0xe0 | (c >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | (c >> 18)), tail(12), tail(6), tail(0)};
}

} // namespace

BOOST_AUTO_TEST_CASE(every_code_point_but_surrogates_is_valid) {
  std::uint32_t wrong = 0;
  for (std::uint32_t c = 0; c < 0x110000; ++c)
    wrong += is_valid_utf8(from_code_point(c)) == (c >= 0xd800 && c < 0xe000);
  BOOST_TEST(wrong == 0u);
}

BOOST_AUTO_TEST_CASE(of_all_pairs_of_bytes_just_those_of_well_formed_characters_are_valid) {
  int valid = 0;
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b)
      valid += is_valid_utf8(std::string{static_cast<char>(a), static_cast<char>(b)});
  // Two of 128 ASCII characters, or one of the 1,920 of two bytes.
  BOOST_TEST(valid == 128 * 128 + 1920);
}

BOOST_AUTO_TEST_CASE(overlong_forms_and_what_is_over_the_last_code_point_are_invalid) {
  for (const char* text : {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80",
                           "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xed\xa0\x80", "\xff"})
    BOOST_TEST(valid_utf8_bytes(text) == 0u);
}

BOOST_AUTO_TEST_CASE(the_first_bad_byte_is_found_at_every_offset) {
  for (std::size_t at = 0; at < 40; ++at) {
    std::string text(40, 'a');
    text[at] = '\x80';
    BOOST_TEST(valid_utf8_bytes(text) == at);
  }
}

BOOST_AUTO_TEST_CASE(a_character_that_the_end_cuts_is_invalid_from_its_first_byte) {
  const std::string text = "abc𝄞";
  for (std::size_t size = 4; size < 7; ++size)
    BOOST_TEST(valid_utf8_bytes(std::string_view{text}.substr(0, size)) == 3u);
  BOOST_TEST(valid_utf8_bytes(text) == 7u);
}

BOOST_AUTO_TEST_CASE(cutting_never_splits_a_character) {
  const std::string text = "a€b𝄞c";
  for (std::size_t size = 0; size <= text.size() + 1; ++size) {
    const auto cut = cut_utf8(text, size);
    BOOST_TEST(is_valid_utf8(cut));
    BOOST_TEST(cut.size() <= size);
    BOOST_TEST(cut.size() + 4 > std::min(size, text.size()));
  }
}

BOOST_AUTO_TEST_CASE(what_is_invalid_is_replaced_and_the_rest_kept) {
  BOOST_TEST(replace_invalid_utf8("a\xff€\xe2\x82") == "a\ufffd€\ufffd\ufffd");
}

BOOST_AUTO_TEST_CASE(quotes_are_short_valid_and_without_control_characters) {
  BOOST_TEST(in_quotes("seed") == "'seed'");
  BOOST_TEST(in_quotes("a\nb\x7f\xff") == "'a?b?\ufffd'");
  std::string wide;
  for (int i = 0; i < 30; ++i)
    wide += "€";
  BOOST_TEST(in_quotes(wide) == std::string{"'"}.append(wide, 0, 39).append("...'"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
