#include "model/tokenizer/pre_tokenizer.hpp"

#include <set>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(pre_tokenizing)

namespace {

namespace data = boost::unit_test::data;
using words = std::vector<std::string>;

words split(const pre_tokenizer& rules, std::string_view text) {
  word_splitter splitter(rules);
  splitter.start(text);
  words result;
  for (std::string_view word; splitter.next(word);) {
    BOOST_REQUIRE(!word.empty());
    result.emplace_back(word);
  }
  return result;
}

pre_tokenizer rules_named(std::string_view name) {
  const auto* rule = find_pre_tokenizer_rule(name);
  BOOST_REQUIRE(rule);
  return value_of(pre_tokenizer::compile(rule->stages));
}

std::string joined(const words& parts) {
  std::string text;
  for (const auto& part : parts)
    text += part;
  return text;
}

// One name for each set of stages.
std::vector<std::string> all_names() {
  std::vector<std::string> names;
  std::set<const void*> seen;
  for (const auto& rule : pre_tokenizer_rules())
    if (seen.insert(rule.stages.data()).second)
      names.emplace_back(rule.name);
  return names;
}

void check(std::string_view rule, std::string_view text, const words& wanted) {
  BOOST_TEST_CONTEXT(rule << ": " << text)
  BOOST_TEST(split(rules_named(rule), text) == wanted, boost::test_tools::per_element());
}

} // namespace

BOOST_DATA_TEST_CASE(the_words_of_a_text_are_the_text, data::make(all_names()), name) {
  auto rules = rules_named(name);
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    auto text = random_text(random, random() % 60);
    BOOST_TEST(joined(split(rules, text)) == text);
  }
}

BOOST_DATA_TEST_CASE(a_space_between_letters_is_a_cut_that_nothing_looks_across, data::make(all_names()), name) {
  auto rules = rules_named(name);
  std::mt19937 random(2);
  for (int round = 0; round < 400; ++round) {
    auto before = random_text(random, random() % 12) + "lLsx"[random() % 4];
    auto after = std::string(" ") + "rRtz"[random() % 4] + random_text(random, random() % 12);
    auto wanted = split(rules, before);
    for (auto& word : split(rules, after))
      wanted.push_back(std::move(word));
    BOOST_TEST(split(rules, before + after) == wanted, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(the_one_pattern_of_smollm_cuts_as_its_two_stages_do) {
  static const char* const stages[] = {R"(\p{N})", find_pre_tokenizer_rule("gpt-2")->stages[0]};
  auto two = value_of(pre_tokenizer::compile(stages));
  auto one = rules_named("smollm");
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    auto text = random_text(random, random() % 30);
    BOOST_TEST(split(one, text) == split(two, text), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(gpt_2_keeps_contractions_numbers_and_the_last_space_before_a_word) {
  check("gpt-2", "I've  told you 'RE 1234 times!?\n\n ok ",
        {"I", "'ve", " ", " told", " you", " '", "RE", " 1234", " times", "!?", "\n\n", " ok", " "});
}

BOOST_AUTO_TEST_CASE(smollm_takes_digits_one_by_one_without_the_space_before_them) {
  check("smollm", "in  1984,\xC2\xBD x", {"in", "  ", "1", "9", "8", "4", ",", "\xC2\xBD", " x"});
}

BOOST_AUTO_TEST_CASE(llama_3_takes_three_digits_and_line_ends_with_punctuation) {
  check("llama-bpe", "I'LL (pay) 12345\xE2\x82\xAC!\n\n \n  now",
        {"I", "'LL", " (", "pay", ")", " ", "123", "45", "\xE2\x82\xAC!\n\n", " \n", " ", " now"});
}

BOOST_AUTO_TEST_CASE(qwen_2_takes_digits_one_by_one) {
  check("qwen2", "x=12\n.y", {"x", "=", "1", "2", "\n", ".y"});
}

BOOST_AUTO_TEST_CASE(gpt_4o_cuts_where_an_upper_case_letter_follows_a_lower_case_one) {
  check("gpt-4o", "camelCase HTTPServer it's 1234/\n",
        {"camel", "Case", " HTTPServer", " it's", " ", "123", "4", "/\n"});
}

BOOST_AUTO_TEST_CASE(white_space_is_what_unicode_calls_so) {
  // U+0085 and U+3000 are; U+180E and U+200B are not, so that a space goes with what follows them.
  check("gpt-2", "\xC2\x85\xE3\x80\x80 a", {"\xC2\x85\xE3\x80\x80", " a"});
  check("gpt-2", " \xE1\xA0\x8E\xE2\x80\x8B", {" \xE1\xA0\x8E\xE2\x80\x8B"});
}

BOOST_AUTO_TEST_CASE(a_stage_sees_the_end_of_its_piece_as_the_end_of_the_text) {
  check("deepseek-coder", "a  b1\r\n\xE4\xB8\xAD+ +", {"a", " ", " b", "1", "\r", "\n", "\xE4\xB8\xAD", "+ +"});
}

// Each takes minutes if a rule looks through what is left from each position.
BOOST_DATA_TEST_CASE(long_runs_cost_no_more_than_their_length, data::make(all_names()), name) {
  auto rules = rules_named(name);
  for (const char* unit : {" ", "a", "A", "1", "'", "\n", " \t", "\xC3\xA9", "a\xCC\x81", "=", "(", "\xE4\xB8\xAD"}) {
    std::string text;
    while (text.size() < 300'000)
      text += unit;
    text += "=x";
    BOOST_TEST(joined(split(rules, text)) == text);
  }
}

BOOST_AUTO_TEST_CASE(a_name_that_is_not_in_the_table_has_no_rule) {
  BOOST_TEST(!find_pre_tokenizer_rule("smollm2"));
  BOOST_TEST(!find_pre_tokenizer_rule(""));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
