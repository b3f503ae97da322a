// Files become programs, and what a program would ignore or get wrong is refused by name.
#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "model/architecture.hpp"
#include "model/backend.hpp"
#include "tests/support/gguf_writer.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(architecture)

namespace {

/// The smallest Llama: one layer, width 8, two heads over one KV head, 5 tokens. A test changes what it wants.
struct description {
  std::string architecture = "llama";
  std::function<void(gguf_writer&)> metadata = [](gguf_writer&) {};
  std::vector<std::string> without_keys;
  std::vector<std::pair<std::string, std::vector<std::uint64_t>>> tensors{
    {"token_embd.weight", {8, 5}},      {"blk.0.attn_norm.weight", {8}},    {"blk.0.attn_q.weight", {8, 8}},
    {"blk.0.attn_k.weight", {8, 4}},    {"blk.0.attn_v.weight", {8, 4}},    {"blk.0.attn_output.weight", {8, 8}},
    {"blk.0.ffn_norm.weight", {8}},     {"blk.0.ffn_gate.weight", {8, 12}}, {"blk.0.ffn_up.weight", {8, 12}},
    {"blk.0.ffn_down.weight", {12, 8}}, {"output_norm.weight", {8}}};

  void set(const std::string& name, std::vector<std::uint64_t> shape) {
    for (auto& tensor : tensors)
      if (tensor.first == name) {
        tensor.second = std::move(shape);
        return;
      }
    tensors.emplace_back(name, std::move(shape));
  }
};

expected<model_program> program_of(const description& from, std::shared_ptr<const gguf::file>* keep = nullptr) {
  gguf_writer writer;
  writer.add("general.architecture", from.architecture.c_str());
  const std::pair<const char*, std::uint32_t> sizes[] = {{"block_count", 1},          {"context_length", 64},
                                                         {"embedding_length", 8},     {"feed_forward_length", 12},
                                                         {"attention.head_count", 2}, {"attention.head_count_kv", 1}};
  for (const auto& [key, value] : sizes)
    if (std::ranges::find(from.without_keys, key) == from.without_keys.end())
      writer.add("llama." + std::string(key), value);
  writer.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  from.metadata(writer);
  for (const auto& [name, shape] : from.tensors) {
    std::uint64_t elements = 1;
    for (auto size : shape)
      elements *= size;
    const std::vector<float> ones(elements, 2.0f);
    writer.add_tensor(name, gguf::tensor_type::f32, shape, std::as_bytes(std::span(ones)));
  }
  auto file = gguf::parse(writer.finish());
  BOOST_REQUIRE_MESSAGE(file, file.error().message);
  if (keep)
    *keep = *file;
  return make_program(**file);
}

void refuses(const description& from, errc code, const std::string& name) {
  const auto program = program_of(from);
  BOOST_REQUIRE_MESSAGE(!program, "accepted, though it should name " << name);
  BOOST_TEST((program.error().code == code), program.error().message);
  BOOST_TEST(program.error().message.find(name) != std::string::npos, program.error().message);
}

template <class T>
description with_key(const std::string& key, const T& value) {
  description out;
  out.metadata = [=](gguf_writer& to) { to.add("llama." + key, value); };
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_llama_file_becomes_its_program) {
  const auto program = program_of({});
  BOOST_REQUIRE_MESSAGE(program, program.error().message);
  BOOST_TEST(program->head_size == 4u);
  BOOST_TEST(program->vocabulary == 5u);
  BOOST_TEST(program->rope.size == 4u);
  BOOST_TEST((program->rope.layout == rope_layout::interleaved));
  BOOST_TEST(program->attention_scale == 0.5f);
  BOOST_TEST(program->width_of(buffer::key) == 4u);
  BOOST_TEST(kv_block_bytes(*program, 2) == 2u * 16 * 4 * 2);
  using enum op_kind;
  const std::vector<op_kind> wanted{embed,    rms_norm,  matmul,    matmul, matmul,   rope,     rope,
                                    store_kv, attention, take_rows, matmul, add,      rms_norm, matmul,
                                    matmul,   swiglu,    matmul,    add,    rms_norm, matmul};
  std::vector<op_kind> got;
  for (const auto& op : program->operations)
    got.push_back(op.kind);
  BOOST_TEST((got == wanted));
}

BOOST_AUTO_TEST_CASE(the_logits_come_from_the_embedding_unless_there_is_an_output_matrix) {
  BOOST_TEST(program_of({})->operations.back().weight == "token_embd.weight");
  description untied;
  untied.set("output.weight", {8, 5});
  BOOST_TEST(program_of(untied)->operations.back().weight == "output.weight");
}

BOOST_AUTO_TEST_CASE(biases_are_used_where_the_file_has_them) {
  description from;
  from.set("blk.0.attn_k.bias", {4});
  const auto program = program_of(from);
  BOOST_REQUIRE(program);
  for (const auto& op : program->operations)
    BOOST_TEST(op.bias == (op.weight == "blk.0.attn_k.weight" ? "blk.0.attn_k.bias" : ""));
}

BOOST_AUTO_TEST_CASE(what_the_program_cannot_do_is_refused_by_name) {
  description other;
  other.architecture = "mamba";
  refuses(other, errc::unsupported, "\"mamba\"");
  refuses(with_key("attention.sliding_window", 4096u), errc::unsupported, "llama.attention.sliding_window");
  refuses(with_key("expert_count", 8u), errc::unsupported, "llama.expert_count");
  refuses(with_key("rope.scaling.type", "longrope"), errc::unsupported, "longrope");
  refuses(with_key("attention.value_length", 16u), errc::unsupported, "llama.attention.value_length");
  refuses(with_key("attention.causal", false), errc::unsupported, "llama.attention.causal");
  description extra;
  extra.set("blk.0.attn_q_norm.weight", {4});
  refuses(extra, errc::unsupported, "blk.0.attn_q_norm.weight");
}

BOOST_AUTO_TEST_CASE(metadata_that_contradicts_itself_is_malformed) {
  refuses(with_key("rope.dimension_count", 3u), errc::malformed, "llama.rope.dimension_count");
  refuses(with_key("rope.freq_base", -1.0f), errc::malformed, "llama.rope.freq_base");
  refuses(with_key("rope.freq_base", NAN), errc::malformed, "llama.rope.freq_base");
  refuses(with_key("vocab_size", 6u), errc::malformed, "llama.vocab_size");
  refuses(with_key("attention.key_length", 5000u), errc::malformed, "llama.attention.key_length");
  for (const std::string key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"}) {
    description absent;
    absent.without_keys = {key};
    refuses(absent, errc::not_found, "llama." + key);
    auto zero = with_key(key, 0u);
    zero.without_keys = {key};
    refuses(zero, errc::malformed, "llama." + key);
    auto text = with_key(key, "many");
    text.without_keys = {key};
    refuses(text, errc::malformed, "llama." + key);
  }
  auto heads = with_key("attention.head_count_kv", 3u);
  heads.without_keys = {"attention.head_count_kv"};
  refuses(heads, errc::malformed, "llama.attention.head_count_kv");
}

BOOST_AUTO_TEST_CASE(a_tensor_that_is_missing_or_has_another_shape_is_named) {
  const description whole;
  for (std::size_t i = 0; i < whole.tensors.size(); ++i) {
    auto without = whole;
    without.tensors.erase(without.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    refuses(without, errc::not_found, whole.tensors[i].first);
    if (whole.tensors[i].first == "token_embd.weight")
      continue;
    auto wrong = whole;
    ++wrong.tensors[i].second.back();
    refuses(wrong, errc::malformed, whole.tensors[i].first);
  }
}

BOOST_AUTO_TEST_CASE(rope_frequencies_fall_with_the_base_and_the_factors) {
  rope_parameters rope{.size = 8, .base = 10000.0f};
  const auto plain = frequencies_of(rope, {});
  BOOST_TEST(plain.frequencies == (std::vector<double>{1, 0.1, 0.01, 0.001}), boost::test_tools::tolerance(1e-12)
                                                                                << boost::test_tools::per_element());
  BOOST_TEST(plain.magnitude == 1.0);
  rope.scaling = rope_scaling::linear;
  rope.factor = 4;
  BOOST_TEST(frequencies_of(rope, {}).frequencies[1] == 0.025, boost::test_tools::tolerance(1e-12));
  rope.scaling = rope_scaling::none;
  const std::vector<float> factors{1, 2, 4, 8};
  BOOST_TEST(frequencies_of(rope, factors).frequencies[3] == 0.000125, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(yarn_keeps_fast_pairs_and_interpolates_slow_ones) {
  const rope_parameters rope{
    .scaling = rope_scaling::yarn, .size = 128, .base = 10000.0f, .factor = 8, .original_context = 4096};
  const auto yarn = frequencies_of(rope, {});
  const auto plain = frequencies_of({.size = 128, .base = 10000.0f}, {});
  // Pairs that turn more than 32 times in 4,096 positions are fast, those that turn less than once are slow.
  const auto turns = [&](std::size_t i) { return 4096 * plain.frequencies[i] / (2 * std::numbers::pi); };
  for (std::size_t i = 0; i < 64; ++i) {
    const double ratio = yarn.frequencies[i] / plain.frequencies[i];
    BOOST_TEST(ratio <= 1 + 1e-12);
    BOOST_TEST(ratio >= 1.0 / 8 - 1e-12);
    if (turns(i) > 40)
      BOOST_TEST(ratio == 1, boost::test_tools::tolerance(1e-12));
    if (turns(i) < 0.8)
      BOOST_TEST(ratio == 1.0 / 8, boost::test_tools::tolerance(1e-12));
  }
  BOOST_TEST(yarn.magnitude == 1 + 0.1 * std::log(8.0), boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(frequency_factors_are_read_from_their_tensor) {
  description from;
  from.set("rope_freqs.weight", {2});
  std::shared_ptr<const gguf::file> file;
  const auto program = program_of(from, &file);
  BOOST_REQUIRE(program);
  BOOST_TEST(frequencies_of(*program, *file).frequencies[0] == 0.5); // All tensors are twos.
  from.set("rope_freqs.weight", {3});
  refuses(from, errc::malformed, "rope_freqs.weight");
}

BOOST_AUTO_TEST_SUITE_END()
