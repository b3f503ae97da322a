// The vocabularies that llama.cpp tests its own tokenizers with, and what it makes of some fifty texts with each.
// tools/fetch-vocabs gets them; TROUPE_TEST_VOCABS names their folder.
//
// Compared are all those that are byte-level BPE and have expected ids: command-r, deepseek-coder, deepseek-llm,
// falcon, gpt-2, llama-bpe, mpt, qwen2, qwen35, refact, starcoder. The others of that package are not byte-level BPE
// (bert-bge, gemma-4, llama-spm, nomic-bert-moe, phi-3, baichuan), or name no pre-tokenizer and have no expected ids
// (aquila, gpt-neox).
#include <fstream>
#include <iterator>
#include <sstream>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include "tests/model/tokenizer/support.hpp"

namespace troupe::test {
namespace {

namespace data = boost::unit_test::data;

const char* const names[] = {"command-r", "deepseek-coder", "deepseek-llm", "falcon", "gpt-2",    "llama-bpe",
                             "mpt",       "qwen2",          "qwen35",       "refact", "starcoder"};

std::filesystem::path folder() {
  return from_environment("TROUPE_TEST_VOCABS", ".cache/troupe/vocabs");
}

std::filesystem::path file_of(const std::string& name) {
  return folder() / ("ggml-vocab-" + name + ".gguf");
}

boost::test_tools::assertion_result has_vocabularies(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result result(std::filesystem::exists(file_of("gpt-2")));
  if (!result)
    result.message() << "there are no vocabularies in " << folder() << " (tools/fetch-vocabs gets them)";
  return result;
}

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  BOOST_REQUIRE_MESSAGE(in, path << " cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

struct example {
  std::string text;
  std::vector<token_id> ids;
};

std::vector<example> examples_of(const std::string& name) {
  static const std::string separator = "\n__ggml_vocab_test__\n";
  auto path = file_of(name).string();
  auto texts = contents_of(path + ".inp");
  std::istringstream lines(contents_of(path + ".out"));
  std::vector<example> examples;
  std::size_t position = 0;
  for (std::string line; std::getline(lines, line);) {
    BOOST_REQUIRE_LT(position, texts.size());
    auto end = std::min(texts.find(separator, position), texts.size());
    std::istringstream numbers(line);
    examples.push_back({texts.substr(position, end - position), {std::istream_iterator<token_id>(numbers), {}}});
    position = end + separator.size();
  }
  BOOST_REQUIRE_GE(position, texts.size()); // Each text has its line.
  return examples;
}

} // namespace

BOOST_AUTO_TEST_SUITE(vocabularies, *boost::unit_test::precondition(has_vocabularies))

BOOST_DATA_TEST_CASE(every_text_has_the_ids_that_llama_cpp_gives, data::make(names), name) {
  auto tokens = tokenizer_of(file_of(name));
  auto examples = examples_of(name);
  BOOST_TEST(examples.size() >= 46u);
  for (const auto& [text, ids] : examples)
    BOOST_TEST_CONTEXT(text)
  BOOST_TEST(tokens->encode(text) == ids, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE(encoding_in_slices_and_decoding_give_the_same_for_each_vocabulary, data::make(names), name) {
  auto tokens = tokenizer_of(file_of(name));
  for (const auto& [text, ids] : examples_of(name)) {
    for (std::size_t slice : {1, 7, 64}) {
      encoder run(tokens, {{text, false}});
      while (!run.advance(slice)) {
      }
      BOOST_TEST(run.take() == ids, boost::test_tools::per_element());
    }
    // Some vocabularies lack the byte 0x0B (falcon: what it never saw).
    if (tokens->has_byte(0x0B))
      BOOST_TEST(tokens->decode(ids) == text);
  }
}

BOOST_AUTO_TEST_CASE(a_vocabulary_of_another_kind_is_refused_by_the_name_of_its_field) {
  auto file = value_of(gguf::open(file_of("llama-spm")));
  auto result = tokenizer::from_gguf(*file);
  BOOST_REQUIRE(!result);
  BOOST_TEST((result.error().code == errc::unsupported));
  BOOST_TEST(result.error().message.find("tokenizer.ggml.model") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_vocabulary_without_a_pre_tokenizer_is_refused_with_those_that_are_known) {
  auto file = value_of(gguf::open(file_of("gpt-neox")));
  auto result = tokenizer::from_gguf(*file);
  BOOST_REQUIRE(!result);
  BOOST_TEST((result.error().code == errc::unsupported));
  BOOST_TEST(result.error().message.find("tokenizer.ggml.pre") != std::string::npos);
  BOOST_TEST(result.error().message.find("smollm") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
