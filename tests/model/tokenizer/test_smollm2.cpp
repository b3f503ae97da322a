// The real vocabulary against what HF tokenizers and llama.cpp agree on (tests/oracle/smollm2_tokens.json).
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
namespace {

struct oracle_case {
  std::string text;
  std::vector<token_id> ids;
};

const std::vector<oracle_case>& oracle() {
  static const auto cases = [] {
    std::ifstream in(TROUPE_ORACLE_DIR "/smollm2_tokens.json");
    std::vector<oracle_case> result;
    const auto document = nlohmann::json::parse(in);
    for (const auto& entry : document.at("cases"))
      result.push_back({entry.at("text"), entry.at("ids")});
    BOOST_REQUIRE_EQUAL(result.size(), 166u);
    return result;
  }();
  return cases;
}

std::vector<token_id> encode_in_slices(const std::shared_ptr<const tokenizer>& tokens, text_parts parts,
                                       std::size_t slice) {
  encoder run(tokens, std::move(parts));
  while (!run.advance(slice)) {
  }
  return run.take();
}

// The bytes that the vocabulary has, which are those that come back.
std::string without_missing_bytes(const tokenizer& tokens, std::string text) {
  std::erase_if(text, [&](char byte) { return !tokens.has_byte(static_cast<unsigned char>(byte)); });
  return text;
}

} // namespace

BOOST_AUTO_TEST_SUITE(smollm2_vocabulary, *boost::unit_test::precondition(has_model))

BOOST_AUTO_TEST_CASE(every_oracle_case_is_encoded_exactly_and_decoded_back) {
  for (const auto& [text, ids] : oracle()) {
    BOOST_TEST_CONTEXT(text)
    BOOST_TEST(smollm2()->encode(text, true) == ids, boost::test_tools::per_element());
    BOOST_TEST(smollm2()->decode(ids) == text);
  }
}

BOOST_AUTO_TEST_CASE(slices_of_any_size_give_the_ids_of_the_whole) {
  for (const auto& [text, ids] : oracle())
    for (std::size_t slice : {1, 7, 64})
      BOOST_TEST(encode_in_slices(smollm2(), {{text, true}}, slice) == ids, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(parts_of_one_trust_are_one_text_wherever_they_are_cut) {
  for (const auto& [text, ids] : oracle()) {
    for (std::size_t cut = 0; cut <= text.size(); cut += 1 + text.size() / 16) {
      text_parts parts{{text.substr(0, cut), true}, {"", false}, {text.substr(cut), true}};
      BOOST_TEST(smollm2()->encode(parts) == ids, boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(untrusted_text_yields_no_control_token) {
  for (const auto& [text, ids] : oracle()) {
    auto untrusted = smollm2()->encode(text);
    for (auto id : untrusted)
      BOOST_TEST(!smollm2()->is_special(id));
    BOOST_TEST(smollm2()->decode(untrusted) == text);
  }
}

BOOST_AUTO_TEST_CASE(a_chat_has_control_tokens_of_its_template_alone) {
  text_parts chat{{"<|im_start|>user\n", true}, {"<|im_end|>\n<|im_start|>", false}, {"<|im_end|>\n", true}};
  auto ids = smollm2()->encode(chat);
  BOOST_TEST(smollm2()->decode(ids) == "<|im_start|>user\n<|im_end|>\n<|im_start|><|im_end|>\n");
  BOOST_TEST(std::count(ids.begin(), ids.end(), 1) == 1);
  BOOST_TEST(std::count(ids.begin(), ids.end(), 2) == 1);
  for (std::size_t slice : {1, 7, 64})
    BOOST_TEST(encode_in_slices(smollm2(), chat, slice) == ids, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(random_text_and_random_bytes_come_back_but_for_bytes_that_the_vocabulary_lacks) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    auto text = round % 2 ? random_bytes(random, random() % 200) : random_text(random, random() % 200);
    auto ids = smollm2()->encode(text);
    BOOST_TEST(smollm2()->decode(ids) == without_missing_bytes(*smollm2(), text));
    BOOST_TEST(encode_in_slices(smollm2(), {{text, false}}, 1 + random() % 30) == ids,
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(it_lacks_the_21_bytes_that_the_header_speaks_of) {
  int missing = 0;
  for (int byte = 0; byte < 256; ++byte)
    missing += !smollm2()->has_byte(static_cast<unsigned char>(byte));
  BOOST_TEST(missing == 21);
  BOOST_TEST(smollm2()
               ->encode("a\x04"
                        "b\xFF")
               .size() == 2u);
}

// These take minutes if anything in them costs the square of the length.
BOOST_AUTO_TEST_CASE(a_megabyte_of_one_character_or_of_hostile_runs_is_encoded_whole) {
  constexpr std::size_t megabyte = 1u << 20;
  std::vector<std::string> texts;
  for (const char* unit :
       {"a", " ", "7", "\n", "'", "\xFF", "\xC2\xA0", "\xE4\xB8\xAD", "\xF0\x9F", "<|im_start|", " \r", "ab", "<|"}) {
    std::string text;
    while (text.size() < megabyte)
      text += unit;
    texts.push_back(text);
    texts.push_back(text + "x");
  }
  for (const auto& text : texts) {
    auto ids = smollm2()->encode(text, true);
    BOOST_TEST(smollm2()->decode(ids) == without_missing_bytes(*smollm2(), text));
  }
}

BOOST_AUTO_TEST_CASE(one_slice_of_a_long_word_does_a_bounded_part_of_it) {
  encoder run(smollm2(), {{std::string(1u << 20, 'a'), false}});
  int slices = 1;
  while (!run.advance(1024))
    ++slices;
  BOOST_TEST(slices >= 100);
  BOOST_TEST((run.take() == smollm2()->encode(std::string(1u << 20, 'a'))));
}

BOOST_AUTO_TEST_CASE(its_metadata_says_what_begins_and_ends_text) {
  BOOST_TEST(smollm2()->size() == 49152u);
  BOOST_TEST(smollm2()->longest_token_bytes() == 81u);
  BOOST_TEST(smollm2()->eos().value() == 2);
  BOOST_TEST(smollm2()->bos().value() == 1);
  BOOST_TEST(!smollm2()->adds_bos());
  BOOST_TEST(smollm2()->ends_generation(2));
  BOOST_TEST(smollm2()->ends_generation(0)); // <|endoftext|>
  BOOST_TEST(!smollm2()->ends_generation(1));
  BOOST_TEST(smollm2()->is_special(1));
  BOOST_TEST(!smollm2()->is_special(81));
  BOOST_TEST(smollm2()->bytes_of(2) == "<|im_end|>");
  BOOST_TEST(smollm2()->bytes_of(49152).empty());
  BOOST_TEST(smollm2()->bytes_of(-1).empty());
}

BOOST_AUTO_TEST_CASE(the_detokenizer_gives_each_oracle_text_token_by_token) {
  for (const auto& [text, ids] : oracle()) {
    detokenizer out(smollm2());
    std::string shown;
    std::string expected_text;
    for (auto id : ids) {
      shown += out.feed(id);
      if (!smollm2()->is_special(id))
        expected_text += smollm2()->bytes_of(id);
    }
    shown += out.flush();
    BOOST_TEST(shown == expected_text);
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
