// The tiny model of tests/support is a model file as the real one is.
#include <algorithm>
#include <string>

#include <boost/test/unit_test.hpp>

#include "model/gguf/file.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using gguf::tensor_type;

BOOST_AUTO_TEST_SUITE(tiny_model)

BOOST_AUTO_TEST_CASE(it_has_every_tensor_of_a_llama_in_the_shape_that_its_metadata_says) {
  for (const auto type : {tensor_type::f32, tensor_type::f16, tensor_type::q8_0, tensor_type::q4_1}) {
    const auto disk = test::tiny_model_file({.layers = 3, .type = type});
    const auto opened = gguf::open(disk.path());
    BOOST_REQUIRE_MESSAGE(opened, opened.error().message);
    const auto& file = **opened;
    BOOST_TEST(file.tensors().size() == 2u + 3 * 9);
    auto check = [&](const std::string& name, std::uint64_t columns, std::uint64_t rows, bool matrix) {
      const auto* tensor = file.find_tensor(name);
      BOOST_REQUIRE_MESSAGE(tensor != nullptr, name);
      BOOST_TEST(tensor->columns() == columns, name);
      BOOST_TEST(tensor->rows() == rows, name);
      BOOST_TEST(gguf::to_string(tensor->type) == gguf::to_string(matrix ? type : tensor_type::f32), name);
    };
    for (const std::string layer : {"blk.0.", "blk.1.", "blk.2."}) {
      check(layer + "attn_norm.weight", 64, 1, false);
      check(layer + "attn_q.weight", 64, 64, true);
      check(layer + "attn_k.weight", 64, 32, true);
      check(layer + "attn_v.weight", 64, 32, true);
      check(layer + "attn_output.weight", 64, 64, true);
      check(layer + "ffn_norm.weight", 64, 1, false);
      check(layer + "ffn_gate.weight", 64, 128, true);
      check(layer + "ffn_up.weight", 64, 128, true);
      check(layer + "ffn_down.weight", 128, 64, true);
    }
    check("output_norm.weight", 64, 1, false);
    const auto words = file.get<std::uint32_t>("llama.vocab_size").value();
    BOOST_TEST(file.find_tensor("token_embd.weight")->rows() == words);
    BOOST_TEST(file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens").value().size() == words);
    BOOST_TEST(file.get<std::vector<std::int32_t>>("tokenizer.ggml.token_type").value().size() == words);
  }
}

BOOST_AUTO_TEST_CASE(its_vocabulary_has_no_token_twice) {
  const auto file = gguf::parse(test::tiny_model()).value();
  auto tokens = file->get<std::vector<std::string_view>>("tokenizer.ggml.tokens").value();
  BOOST_TEST(tokens.size() == 3u + 256 + 10);
  BOOST_TEST(tokens[file->get<std::uint32_t>("tokenizer.ggml.eos_token_id").value()] == "<|im_end|>");
  std::ranges::sort(tokens);
  BOOST_TEST((std::ranges::adjacent_find(tokens) == tokens.end()));
}

BOOST_AUTO_TEST_CASE(its_bytes_depend_on_the_options_alone) {
  BOOST_TEST((test::tiny_model() == test::tiny_model()));
  BOOST_TEST((test::tiny_model({.seed = 1}) != test::tiny_model({.seed = 2})));
}

BOOST_AUTO_TEST_CASE(an_untied_model_has_an_output_matrix) {
  const auto file = gguf::parse(test::tiny_model({.tied_embeddings = false})).value();
  BOOST_TEST(file->find_tensor("output.weight") != nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
