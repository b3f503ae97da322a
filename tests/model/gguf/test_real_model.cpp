// The model that tools/build fetches.
#include <map>
#include <string>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "tests/support/real_model.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(gguf_real_model, *boost::unit_test::precondition(test::needs_real_model))

BOOST_AUTO_TEST_CASE(smollm2_has_its_tensors_and_metadata) {
  const auto opened = gguf::open(test::real_model_path());
  BOOST_REQUIRE_MESSAGE(opened, opened.error().message);
  const auto& file = **opened;
  BOOST_TEST(file.size() == 98'362'432u);
  BOOST_TEST(file.data_offset() == 1'785'664u);
  BOOST_TEST(file.metadata_count() == 33u);
  std::map<std::string, int> types;
  for (const auto& tensor : file.tensors())
    ++types[std::string(gguf::to_string(tensor.type))];
  BOOST_TEST(file.tensors().size() == 272u);
  BOOST_TEST(types["Q4_1"] == 210);
  BOOST_TEST(types["F32"] == 61);
  BOOST_TEST(types["Q8_0"] == 1);

  BOOST_TEST(file.get<std::string_view>("general.architecture").value() == "llama");
  BOOST_TEST(file.get<std::uint32_t>("llama.block_count").value() == 30u);
  BOOST_TEST(file.get<float>("llama.rope.freq_base").value() == 100000.0f);
  BOOST_TEST(!file.get<bool>("tokenizer.ggml.add_bos_token").value());
  const auto tokens = file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens").value();
  BOOST_TEST(tokens.size() == 49152u);
  BOOST_TEST(tokens[2] == "<|im_end|>");
  BOOST_TEST(file.get<std::vector<std::string_view>>("tokenizer.ggml.merges").value().size() == 48900u);
  BOOST_TEST(file.get<std::vector<std::int32_t>>("tokenizer.ggml.token_type").value()[2] == 3);
}

BOOST_AUTO_TEST_CASE(smollm2_tensors_are_where_the_gguf_package_finds_them) {
  const auto file = gguf::open(test::real_model_path()).value();
  const auto* embedding = file->find_tensor("token_embd.weight");
  BOOST_REQUIRE(embedding != nullptr);
  BOOST_TEST(embedding->columns() == 576u);
  BOOST_TEST(embedding->rows() == 49152u);
  BOOST_TEST(embedding->data.size() == 30'081'024u);
  const auto* value = file->find_tensor("blk.9.attn_v.weight");
  BOOST_REQUIRE(value != nullptr);
  BOOST_TEST(value->data.data() - embedding->data.data() == 98'291'008 - 1'785'664);
  BOOST_TEST(value->data.size() == 69'120u);
  BOOST_TEST(file->find_tensor("output.weight") == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
