#include "model/answer_text.hpp"

#include <boost/test/unit_test.hpp>

#include "tests/support/tiny_tokens.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(answer_text_suite)

namespace {

using test::tiny_tokens;

/// Feeds text a byte at a time: each byte is a token of the tiny model's vocabulary.
struct feeding {
  answer_text text;
  std::string given;

  feeding(std::vector<std::string> stop, const std::string& bytes, std::uint32_t min_tokens = 0)
      : text(tiny_tokens(), std::move(stop), min_tokens) {
    for (char byte : bytes) {
      const auto token = tiny_tokens()->encode({{std::string(1, byte), false}});
      BOOST_REQUIRE(token.size() == 1u);
      given += text.feed(token[0]);
    }
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(text_comes_at_once_where_nothing_could_stop_it) {
  BOOST_TEST(feeding({}, "hello").given == "hello");
}

BOOST_AUTO_TEST_CASE(what_may_be_the_start_of_a_stop_string_is_held_back_until_it_is_not) {
  BOOST_TEST(feeding({"END"}, "the EN").given == "the ");
  BOOST_TEST(feeding({"END"}, "the ENV").given == "the ENV");
  feeding at_the_end({"END"}, "the EN");
  BOOST_TEST(at_the_end.text.finish() == "EN");
  BOOST_TEST(!at_the_end.text.stopped());
}

BOOST_AUTO_TEST_CASE(nothing_of_a_stop_string_and_nothing_after_it_is_given_out) {
  feeding f({"END"}, "the END of it");
  BOOST_TEST(f.given == "the ");
  BOOST_TEST(f.text.stopped());
  BOOST_TEST(f.text.finish().empty());
}

BOOST_AUTO_TEST_CASE(the_first_of_several_stop_strings_counts) {
  BOOST_TEST(feeding({"zz", "b"}, "aabzz").given == "aa");
  BOOST_TEST(feeding({"abc", "b"}, "xabc").given == "xa"); // "b" is whole before "abc" is
}

BOOST_AUTO_TEST_CASE(the_stop_string_that_has_stopped_it_is_the_first_to_be_complete_of_those_that_begin_there) {
  BOOST_TEST(feeding({"zz", "b"}, "aabzz").text.stopped_by() == "b");
  BOOST_TEST(feeding({"abc", "ab"}, "xabc").text.stopped_by() == "ab");
  answer_text whole(tiny_tokens(), {"hello", "hell", "o"}); // Its bytes come together.
  std::string given;
  for (const auto token : tiny_tokens()->encode("hello"))
    whole.feed(token, given);
  BOOST_TEST(whole.stopped_by() == "hell");
}

BOOST_AUTO_TEST_CASE(an_overlapping_beginning_is_not_lost) {
  feeding f({"aab"}, "aaab");
  BOOST_TEST(f.given == "a");
  BOOST_TEST(f.text.stopped());
}

BOOST_AUTO_TEST_CASE(characters_are_never_cut_and_broken_ones_are_replaced_at_the_end) {
  feeding whole({}, "\xc3\xa9");
  BOOST_TEST(whole.given == "\xc3\xa9");
  feeding half({}, "a\xc3");
  BOOST_TEST(half.given == "a");
  BOOST_TEST(half.text.finish() == "\xef\xbf\xbd");
}

BOOST_AUTO_TEST_CASE(a_stop_string_does_not_count_when_it_is_complete_within_the_least_number_of_tokens) {
  BOOST_TEST(feeding({"END"}, "END and on", 3).given == "END and on");
  feeding completed_later({"END"}, "END and on", 2); // by the third token, which may end the answer
  BOOST_TEST(completed_later.given.empty());
  BOOST_TEST(completed_later.text.stopped());
  feeding second({"END"}, "END, END, END", 6);
  BOOST_TEST(second.given == "END, ");
  BOOST_TEST(second.text.stopped());
}

BOOST_AUTO_TEST_CASE(a_short_stop_string_that_came_too_early_is_not_found_in_the_beginning_of_a_long_one) {
  feeding f({"b", "abc"}, "abx", 2);
  BOOST_TEST(f.given == "abx");
  BOOST_TEST(!f.text.stopped());
  feeding later({"b", "abc"}, "abc", 2);
  BOOST_TEST(later.given.empty());
  BOOST_TEST(later.text.stopped());
}

BOOST_AUTO_TEST_CASE(an_answer_that_ends_too_early_for_its_stop_string_gives_all_its_text) {
  feeding f({"END"}, "END", 10);
  BOOST_TEST(f.given + f.text.finish() == "END");
  BOOST_TEST(!f.text.stopped());
}

BOOST_AUTO_TEST_SUITE_END()
