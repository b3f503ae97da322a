// Vocabularies made by hand: special tokens and trust, user-defined tokens, whole words, missing bytes, and refusals.
#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(tokenizers)

namespace {

using ids = std::vector<token_id>;

void check_refused(const tokenizer_source& source, errc code, std::string_view field) {
  auto result = tokenizer::create(source);
  BOOST_REQUIRE(!result);
  BOOST_TEST((result.error().code == code), to_string(result.error().code));
  BOOST_TEST(result.error().message.find(field) != std::string::npos, result.error().message);
}

} // namespace

BOOST_AUTO_TEST_CASE(control_tokens_are_parsed_in_trusted_parts_alone) {
  small_vocabulary vocabulary;
  auto control = vocabulary.add("<|x|>", token_type::control);
  auto tokens = vocabulary.make();
  BOOST_TEST(tokens->encode({{"<|x|>", true}}) == ids{control}, boost::test_tools::per_element());
  BOOST_TEST(tokens->encode({{"<|x|>", false}}) == (ids{'<', '|', 'x', '|', '>'}), boost::test_tools::per_element());
  // Neither half of a name is the user's to complete.
  BOOST_TEST(tokens->encode({{"<|", true}, {"x|>", false}}).size() == 5u);
  BOOST_TEST(tokens->encode({{"<|x", false}, {"|>", true}}).size() == 5u);
  BOOST_TEST(tokens->encode({{"<|x", true}, {"|>", true}}) == ids{control}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(words_run_across_parts_as_if_they_were_one_text) {
  small_vocabulary vocabulary;
  auto ab = vocabulary.merge("a", "b");
  auto tokens = vocabulary.make();
  BOOST_TEST(tokens->encode({{"a", true}, {"b", false}}) == ids{ab}, boost::test_tools::per_element());
  BOOST_TEST(tokens->encode({{"\xC3", true}, {"\xA9", false}}) == (ids{0xC3, 0xA9}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(user_defined_tokens_are_parsed_everywhere_and_the_longest_wins) {
  small_vocabulary vocabulary;
  auto two = vocabulary.add("  ", token_type::user_defined);
  auto three = vocabulary.add("   ", token_type::user_defined);
  auto tool = vocabulary.add("<tool>", token_type::user_defined);
  auto tokens = vocabulary.make();
  BOOST_TEST(tokens->encode("     a") == (ids{three, two, 'a'}), boost::test_tools::per_element());
  BOOST_TEST(tokens->encode({{"<to", false}, {"ol>", true}}) == ids{tool}, boost::test_tools::per_element());
  BOOST_TEST(!tokens->is_special(tool));
}

BOOST_AUTO_TEST_CASE(a_user_defined_token_that_is_named_like_a_control_token_needs_trust) {
  small_vocabulary vocabulary;
  auto ascii = vocabulary.add("<|turn|>", token_type::user_defined);
  auto wide = vocabulary.add("<｜User｜>", token_type::user_defined);
  auto tokens = vocabulary.make();
  BOOST_TEST(tokens->encode("<|turn|><｜User｜>", true) == (ids{ascii, wide}), boost::test_tools::per_element());
  for (auto id : tokens->encode("<|turn|><｜User｜>"))
    BOOST_TEST(id < 256);
}

BOOST_AUTO_TEST_CASE(a_shorter_special_token_is_found_where_the_longer_one_needs_trust) {
  small_vocabulary vocabulary;
  auto shorter = vocabulary.add("<<", token_type::user_defined);
  auto longer = vocabulary.add("<<x", token_type::control);
  auto tokens = vocabulary.make();
  BOOST_TEST(tokens->encode("<<x", true) == ids{longer}, boost::test_tools::per_element());
  BOOST_TEST(tokens->encode("<<x") == (ids{shorter, 'x'}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(unused_tokens_and_a_converters_filler_are_never_made) {
  small_vocabulary vocabulary;
  auto unused = vocabulary.add("ab", token_type::unused);
  auto filler = vocabulary.add("[PAD257]", token_type::user_defined);
  BOOST_REQUIRE_EQUAL(filler, 257);
  auto tokens = vocabulary.make();
  for (auto id : tokens->encode("ab[PAD257]", true))
    BOOST_TEST(id < unused);
}

BOOST_AUTO_TEST_CASE(a_rule_that_takes_whole_words_ignores_the_merges_for_them) {
  small_vocabulary vocabulary;
  auto ab = vocabulary.merge("a", "b");
  auto bc = vocabulary.merge("b", "c");
  auto abc = vocabulary.merge("a", "bc"); // Never made by merges, since "a b" goes first.
  BOOST_TEST(vocabulary.make()->encode("abc") == (ids{ab, 'c'}), boost::test_tools::per_element());
  vocabulary.pre = "llama-bpe";
  BOOST_TEST(vocabulary.make()->encode("abc") == ids{abc}, boost::test_tools::per_element());
  BOOST_TEST(vocabulary.make()->encode("xbc") == (ids{'x', bc}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_bytes_come_back_where_the_vocabulary_has_all_of_them) {
  small_vocabulary vocabulary;
  vocabulary.merge(byte_name(0xC3), byte_name(0xA9));
  vocabulary.merge(byte_name(0xFF), byte_name(0xFF));
  vocabulary.merge("a", "a");
  auto tokens = vocabulary.make();
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    auto bytes =
      random_bytes(random, random() % 12) + random_text(random, random() % 12) + random_bytes(random, random() % 12);
    BOOST_TEST(tokens->decode(tokens->encode(bytes)) == bytes);
  }
  // Invalid bytes stay single, whatever merges there are for them.
  BOOST_TEST(tokens->encode("\xFF\xFF") == (ids{0xFF, 0xFF}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_byte_that_the_vocabulary_lacks_is_left_out_and_can_be_asked_for) {
  small_vocabulary vocabulary;
  vocabulary.types[4] = static_cast<std::int32_t>(token_type::unused);
  auto tokens = vocabulary.make();
  BOOST_TEST(!tokens->has_byte(4));
  BOOST_TEST(tokens->has_byte(5));
  BOOST_TEST(tokens->encode("a\x04"
                            "b") == (ids{'a', 'b'}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(generation_ends_at_the_ids_of_the_metadata_and_at_control_tokens_of_known_names) {
  small_vocabulary vocabulary;
  auto eos = vocabulary.add("<stop>", token_type::control);
  auto eot = vocabulary.add("<turn>", token_type::control);
  auto named = vocabulary.add("<|im_end|>", token_type::control);
  auto other = vocabulary.add("<|im_start|>", token_type::control);
  auto source = vocabulary.source();
  source.eos = eos;
  source.eot = eot;
  auto tokens = value_of(tokenizer::create(source));
  BOOST_TEST(tokens->ends_generation(eos));
  BOOST_TEST(tokens->ends_generation(eot));
  BOOST_TEST(tokens->ends_generation(named));
  BOOST_TEST(!tokens->ends_generation(other));
  BOOST_TEST(!tokens->ends_generation('a'));
  BOOST_TEST(tokens->eos().value() == eos);
  BOOST_TEST(!tokens->bos());
}

BOOST_AUTO_TEST_CASE(bos_is_added_as_the_file_says_or_else_as_is_usual_for_the_pre_tokenizer) {
  small_vocabulary vocabulary;
  auto source = vocabulary.source();
  source.bos = 0;
  BOOST_TEST(!value_of(tokenizer::create(source))->adds_bos());
  source.pre = "llama-bpe";
  BOOST_TEST(value_of(tokenizer::create(source))->adds_bos());
  source.add_bos = false;
  BOOST_TEST(!value_of(tokenizer::create(source))->adds_bos());
  source.add_bos = true;
  source.bos.reset();
  check_refused(source, errc::malformed, "tokenizer.ggml.bos_token_id");
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_vocabulary_is_said_by_the_name_of_its_field) {
  small_vocabulary vocabulary;
  auto source = vocabulary.source();
  source.pre = "esperanto";
  check_refused(source, errc::unsupported, "llama-bpe");
  source = vocabulary.source();
  source.tokens.clear();
  check_refused(source, errc::malformed, "tokenizer.ggml.tokens");
  source = vocabulary.source();
  source.types.pop_back();
  check_refused(source, errc::malformed, "tokenizer.ggml.token_type");
  source = vocabulary.source();
  source.types[7] = 6;
  check_refused(source, errc::unsupported, "tokenizer.ggml.token_type[7]");
  source = vocabulary.source();
  source.eos = 256;
  check_refused(source, errc::malformed, "tokenizer.ggml.eos_token_id");
  source = vocabulary.source();
  source.eom = -1;
  check_refused(source, errc::malformed, "tokenizer.ggml.eom_token_id");
  source = vocabulary.source();
  std::string long_name(max_token_bytes + 1, 'a');
  source.tokens[9] = long_name;
  check_refused(source, errc::limit_exceeded, "tokenizer.ggml.tokens[9]");
}

BOOST_AUTO_TEST_CASE(a_merge_that_is_not_of_normal_tokens_is_refused_with_its_index) {
  small_vocabulary vocabulary;
  vocabulary.merge("a", "b");
  for (const char* merge : {"a", "a b c", " a", "a ", "", "a zz", "zz a", "a c"}) {
    auto source = vocabulary.source();
    source.merges.push_back(merge);
    check_refused(source, errc::malformed, "tokenizer.ggml.merges[1]");
  }
  // It would let a user write a control token letter by letter.
  vocabulary.add("ac", token_type::control);
  auto source = vocabulary.source();
  source.merges.push_back("a c");
  check_refused(source, errc::malformed, "tokenizer.ggml.merges[1]");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
