// The window that an encoding looks at, and trust by stretches.
#include "model/tokenizer/encoding.hpp"

#include <limits>

#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(encoding_runs)

namespace {

// Merges that make different ids of different words: of letters, of spaces, and across what rules cut.
small_vocabulary mergeable() {
  small_vocabulary vocabulary;
  auto space = byte_name(' ');
  for (const char* letter : {"a", "s", "t", "l", "R", "E", "v", "D", "x", "z"})
    vocabulary.merge(space, letter);
  for (const char* first : {"a", "s", "t", "l", "x"})
    for (const char* second : {"a", "s", "t", "l", "z"})
      vocabulary.merge(first, second);
  vocabulary.merge(space, space);
  vocabulary.merge(space + space, space + space);
  vocabulary.merge("'", "s");
  vocabulary.add("  ", token_type::user_defined);
  vocabulary.add("a b", token_type::user_defined);
  vocabulary.add("<|x|>", token_type::control);
  return vocabulary;
}

std::vector<token_id> encode(const vocabulary& tokens, const pre_tokenizer& rules, const text_parts& parts,
                             std::size_t window, std::size_t slice) {
  encoding run(tokens, rules, trusted_text(parts), window);
  while (!run.advance(slice)) {
  }
  return run.take();
}

} // namespace

BOOST_AUTO_TEST_CASE(neither_window_nor_slice_changes_the_ids) {
  constexpr auto whole = std::numeric_limits<std::size_t>::max();
  auto vocabulary_parts = mergeable();
  auto tokens = value_of(vocabulary::create(vocabulary_parts.source(), false));
  std::mt19937 random(1);
  for (const char* name :
       {"smollm", "gpt-2", "llama-bpe", "gpt-4o", "deepseek-coder", "deepseek-llm", "viking", "falcon"}) {
    auto rules = value_of(pre_tokenizer::compile(find_pre_tokenizer_rule(name)->stages));
    for (int round = 0; round < 60; ++round) {
      text_parts parts;
      for (auto count = random() % 5; count > 0; --count) {
        std::string text;
        for (int words = 0; words < 6; ++words)
          text += (random() % 3 ? std::string(" sat x al") : random_text(random, 6)) +
                  (random() % 4 ? "" : "a b<|x|> ") + (random() % 8 ? "" : random_bytes(random, 2));
        parts.push_back({text, random() % 2 == 0});
      }
      auto wanted = encode(tokens, rules, parts, whole, whole);
      for (std::size_t window : {1, 10, 50})
        for (std::size_t slice : {std::size_t{1}, std::size_t{7}, whole})
          BOOST_TEST(encode(tokens, rules, parts, window, slice) == wanted, boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(trust_reaches_over_parts_that_touch_and_ends_where_one_is_untrusted) {
  trusted_text text(text_parts{{"ab", true}, {"", false}, {"c", true}, {"de", false}, {"f", true}});
  std::vector<std::size_t> lengths;
  for (std::size_t i = 0; i < text.text().size(); ++i)
    lengths.push_back(text.trusted_from(i));
  BOOST_TEST(text.text() == "abcdef");
  BOOST_TEST(lengths == (std::vector<std::size_t>{3, 2, 1, 0, 0, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_empty_text_is_done_at_once) {
  auto vocabulary_parts = mergeable();
  auto tokens = value_of(vocabulary::create(vocabulary_parts.source(), false));
  auto rules = value_of(pre_tokenizer::compile(find_pre_tokenizer_rule("gpt-2")->stages));
  encoding run(tokens, rules, trusted_text(text_parts{}));
  BOOST_TEST(run.advance(1));
  BOOST_TEST(run.take().empty());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
