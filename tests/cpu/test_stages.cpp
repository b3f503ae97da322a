// A model's layers on several stages, each with one rank or more: the logits have the same bits on any number of them.
#include <cmath>
#include <cstring>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "comm/shared_memory.hpp"
#include "model/measured_costs.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"
#include "tests/cpu/support.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(stages)

namespace {

using gguf::tensor_type;
using rows_of_logits = std::vector<std::vector<float>>;
using cuts = std::vector<index_range>;

const backend_options sizes{.kv_blocks = 64, .max_rows = 256, .max_logit_rows = 256, .threads = 2};
constexpr std::uint32_t lengths[] = {4, 7, 20, 45};
constexpr tiny_model_options five_layers{
  .seed = 6, .layers = 5, .heads = 9, .kv_heads = 3, .head_size = 32, .feed_forward = 160};

/// All stages, each with all its ranks: ranks of one stage are a group.
class pipeline {
public:
  /// ranks: 0 for programs that nobody has sharded.
  pipeline(const tiny_model_options& options, maker make, unsigned ranks, const cuts& layers) {
    const auto file = gguf::parse(tiny_model(options));
    BOOST_REQUIRE(file);
    const auto whole = make_program(**file);
    BOOST_REQUIRE_MESSAGE(whole, whole.error().message);
    for (const auto& range : layers) {
      auto& stage = stages_.emplace_back();
      if (ranks == 0)
        stage.push_back(on_one(*file, program_of_stage(*whole, range), make, {}));
      else
        load_ranks(*file, *whole, make, ranks, range, stage);
    }
    width_ = whole->width;
    vocabulary_ = whole->vocabulary;
  }

  rows_of_logits forward(std::span<const piece> pieces) {
    const auto batch = lay_out(pieces);
    std::vector<float> handed_on, logits(batch.logit_rows.size() * vocabulary_);
    const std::vector<token_id> no_tokens(batch.tokens.size(), -1);
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      const bool first = s == 0, last = s + 1 == stages_.size();
      const auto input = std::move(handed_on);
      handed_on.assign(last ? 0 : batch.tokens.size() * width_, -7.0f);
      std::vector<std::jthread> threads;
      for (std::size_t r = 0; r < stages_[s].size(); ++r)
        threads.emplace_back([&, r] {
          forward_batch of_stage{first ? batch.tokens : no_tokens, batch.spans, {}, input};
          if (last)
            of_stage.logit_rows = batch.logit_rows;
          else if (r == 0)
            of_stage.output = handed_on;
          std::vector<float> own(last ? logits.size() : 0);
          const auto done = stages_[s][r].backend->forward(of_stage, own);
          if (done && last && r == 0)
            logits = own;
        });
    }
    rows_of_logits out;
    for (auto at = logits.begin(); at != logits.end(); at += static_cast<std::ptrdiff_t>(vocabulary_))
      out.emplace_back(at, at + static_cast<std::ptrdiff_t>(vocabulary_));
    return out;
  }

  const std::vector<std::vector<loaded>>& stages() const { return stages_; }
  std::size_t vocabulary() const { return vocabulary_; }

private:
  static loaded on_one(const std::shared_ptr<const gguf::file>& file, model_program program, maker make,
                       std::shared_ptr<communicator> group) {
    auto options = sizes;
    options.group = std::move(group);
    auto made = make(file, program, options);
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    return {std::move(program), std::move(*made)};
  }

  static void load_ranks(const std::shared_ptr<const gguf::file>& file, const model_program& whole, maker make,
                         unsigned ranks, index_range layers, std::vector<loaded>& stage) {
    const auto plan = plan_shards(whole, *file, ranks);
    BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
    const bool reference = make == make_reference_backend;
    const shared_group_options options{.shards =
                                         reference ? plan->shards_of_ranks() : std::vector<unsigned>(ranks, 1)};
    const auto group = shared_group::create(options);
    BOOST_REQUIRE_MESSAGE(group, group.error().message);
    for (unsigned r = 0; r < ranks; ++r) {
      auto joined = join_shared_group(group->address(), options, r);
      BOOST_REQUIRE_MESSAGE(joined, joined.error().message);
      stage.push_back(
        on_one(file, program_of_stage(program_of_rank(whole, *plan, r), layers), make, std::move(*joined)));
    }
  }

  std::vector<std::vector<loaded>> stages_;
  std::size_t width_ = 0, vocabulary_ = 0;
};

/// All sequences together: half of each prompt, for which nobody wants logits, the rest of it but three tokens, and
/// these one after another beside a late one's whole prompt.
rows_of_logits compute(pipeline& on) {
  auto all = random_sequences(on.stages().front().front().program, lengths, 9);
  auto late = std::move(all.back());
  all.pop_back();
  rows_of_logits out;
  const auto pass = [&](const std::vector<piece>& pieces) {
    for (auto& row : on.forward(pieces))
      out.push_back(std::move(row));
  };
  std::vector<piece> chunks, rests;
  for (auto& one : all) {
    const auto prompt = static_cast<std::uint32_t>(one.tokens.size()) - 3;
    chunks.push_back({&one, (prompt + 1) / 2, 0});
    if (prompt > (prompt + 1) / 2)
      rests.push_back({&one, prompt / 2});
  }
  pass(chunks);
  pass(rests);
  for (int i = 0; i < 3; ++i) {
    std::vector<piece> decodes;
    for (auto& one : all)
      decodes.push_back({&one, 1});
    if (i == 1)
      decodes.push_back({&late, static_cast<std::uint32_t>(late.tokens.size()), 3});
    pass(decodes);
  }
  return out;
}

bool same_bits(const rows_of_logits& a, const rows_of_logits& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

rows_of_logits logits_of(const tiny_model_options& options, maker make, unsigned ranks, const cuts& layers) {
  pipeline on(options, make, ranks, layers);
  auto out = compute(on);
  BOOST_TEST_REQUIRE(out.size() == 2u + 3 * 3 + 3);
  for (const auto& row : out)
    BOOST_TEST_REQUIRE(std::ranges::any_of(row, [](float x) { return x != 0; }));
  return out;
}

const cuts one_stage{{0, 5}};
const std::vector<cuts> several{{{0, 2}, {2, 5}}, {{0, 4}, {4, 5}}, {{0, 1}, {1, 4}, {4, 5}}};

} // namespace

BOOST_AUTO_TEST_CASE(the_reference_backend_has_the_same_bits_on_one_two_and_three_stages_of_one_rank_or_two) {
  for (auto type : {tensor_type::f32, tensor_type::q4_1})
    for (bool tied : {true, false}) {
      auto options = five_layers;
      options.type = type;
      options.tied_embeddings = tied;
      const auto plain = logits_of(options, make_reference_backend, 0, one_stage);
      const auto sharded = logits_of(options, make_reference_backend, 1, one_stage);
      for (const auto& layers : several) {
        BOOST_TEST(same_bits(plain, logits_of(options, make_reference_backend, 0, layers)));
        BOOST_TEST(same_bits(sharded, logits_of(options, make_reference_backend, 2, layers)));
      }
    }
}

BOOST_AUTO_TEST_CASE(the_cpu_backend_has_the_same_bits_on_any_number_of_stages_with_as_many_ranks) {
  for (auto make : {maker(make_cpu_backend), maker(make_bf16_backend)})
    for (auto type : {tensor_type::f16, tensor_type::q4_1, tensor_type::q8_0})
      for (unsigned ranks : {0u, 2u}) {
        auto options = five_layers;
        options.type = type;
        const auto wanted = logits_of(options, make, ranks, one_stage);
        for (const auto& layers : several)
          BOOST_TEST(same_bits(wanted, logits_of(options, make, ranks, layers)),
                     gguf::to_string(type) << " on " << layers.size() << " stages");
      }
}

BOOST_AUTO_TEST_CASE(a_stage_has_the_weights_and_the_kv_memory_of_its_layers_alone) {
  auto options = five_layers;
  options.type = tensor_type::q8_0;
  options.tied_embeddings = false;
  for (auto make : {maker(make_reference_backend), maker(make_cpu_backend)}) {
    const pipeline whole(options, make, 0, one_stage);
    const pipeline cut(options, make, 0, several.back());
    const auto all = whole.stages()[0][0].backend->memory();
    const auto block = whole.stages()[0][0].backend->block_bytes(0);
    std::uint64_t weights = 0;
    for (const auto& stage : cut.stages()) {
      const auto layers = stage[0].program.layers;
      const auto memory = stage[0].backend->memory();
      weights += memory.weight_bytes;
      BOOST_TEST(stage[0].backend->block_bytes(0) == block / 5 * layers);
      BOOST_TEST(memory.kv_bytes == all.kv_bytes / 5 * layers);
    }
    // Each allocation is of whole pages.
    BOOST_TEST(weights >= all.weight_bytes);
    BOOST_TEST(weights < all.weight_bytes + 3 * 4096);
    const auto middle = cut.stages()[1][0].backend->memory().weight_bytes;
    BOOST_TEST(middle < all.weight_bytes * 3 / 5);
  }
}

BOOST_AUTO_TEST_CASE(weighed_costs_are_the_bytes_of_weights) {
  const auto file = gguf::parse(tiny_model({.layers = 3}));
  BOOST_REQUIRE(file);
  const auto whole = make_program(**file);
  BOOST_REQUIRE(whole);
  const auto costs = weigh_costs(**file, *whole);
  BOOST_TEST(costs.head == static_cast<double>((*file)->find_tensor("token_embd.weight")->data.size() +
                                               (*file)->find_tensor("output_norm.weight")->data.size()));
  BOOST_TEST(costs.embed == 0.0);
  BOOST_REQUIRE(costs.layers.size() == 3u);
  double bytes = 0;
  for (const auto& tensor : (*file)->tensors())
    if (tensor.name.starts_with("blk.0."))
      bytes += static_cast<double>(tensor.data.size());
  for (const auto each : costs.layers)
    BOOST_TEST(each == bytes);
}

BOOST_AUTO_TEST_CASE(measured_costs_are_positive_and_cut_a_model) {
  for (auto make : {maker(make_reference_backend), maker(make_cpu_backend)})
    for (std::uint32_t layers : {1u, 5u}) {
      auto options = five_layers;
      options.layers = layers;
      options.type = tensor_type::q8_0;
      const auto file = gguf::parse(tiny_model(options));
      BOOST_REQUIRE(file);
      const auto whole = make_program(**file);
      BOOST_REQUIRE(whole);
      const auto costs =
        measure_costs(**file, *whole, [&](const model_program& part) { return make(*file, part, sizes); });
      BOOST_REQUIRE_MESSAGE(costs, costs.error().message);
      BOOST_TEST_REQUIRE(costs->layers.size() == layers);
      for (double cost : costs->layers)
        BOOST_TEST((std::isfinite(cost) && cost > 0));
      BOOST_TEST((std::isfinite(costs->head) && costs->head >= 0 && (layers == 1 || costs->head > 0)));
      BOOST_TEST((std::isfinite(costs->embed) && costs->embed >= 0 && costs->embed < costs->layers[0]));
      const auto cut = balance_layers(*costs, std::min(layers, 3u));
      BOOST_REQUIRE(cut);
      BOOST_TEST(cut->back().end == layers);
    }
  const part_maker none = [](const model_program&) -> expected<std::unique_ptr<backend>> {
    return fail(errc::out_of_memory, "none");
  };
  const auto file = gguf::parse(tiny_model(five_layers));
  BOOST_TEST((measure_costs(**file, *make_program(**file), none).error().code == errc::out_of_memory));
}

BOOST_AUTO_TEST_SUITE_END()
