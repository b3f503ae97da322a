#include "model/stages.hpp"

#include <algorithm>
#include <random>

#include <boost/test/unit_test.hpp>

#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(stages)

namespace {

double cost_of(const layer_costs& costs, index_range stage) {
  double sum = 0;
  for (auto layer = stage.begin; layer < stage.end; ++layer)
    sum += costs.layers[layer];
  return sum + (stage.begin == 0 ? costs.embed : 0) + (stage.end == costs.layers.size() ? costs.head : 0);
}

/// By trying all cuts.
double smallest_largest(const layer_costs& costs, std::uint32_t begin, unsigned stages) {
  const auto layers = static_cast<std::uint32_t>(costs.layers.size());
  if (stages == 1)
    return cost_of(costs, {begin, layers});
  double best = 1e300;
  for (auto end = begin + 1; end + stages - 1 <= layers; ++end)
    best = std::min(best, std::max(cost_of(costs, {begin, end}), smallest_largest(costs, end, stages - 1)));
  return best;
}

bool names(const model_program& program, std::string_view weight) {
  return std::ranges::any_of(program.operations, [&](const auto& op) { return op.weight == weight; });
}

} // namespace

BOOST_AUTO_TEST_CASE(each_stage_has_its_layers_and_what_stands_before_and_after_them) {
  const auto file = gguf::parse(tiny_model({.layers = 5, .tied_embeddings = false}));
  BOOST_REQUIRE(file);
  const auto whole = make_program(**file);
  BOOST_REQUIRE(whole);
  const auto first = program_of_stage(*whole, {0, 2}), middle = program_of_stage(*whole, {2, 4}),
             last = program_of_stage(*whole, {4, 5}), alone = program_of_stage(*whole, {0, 5});
  BOOST_TEST((first.operations.front().kind == op_kind::embed && first.gives_hidden() && !first.takes_hidden()));
  BOOST_TEST((middle.takes_hidden() && middle.gives_hidden()));
  BOOST_TEST((last.takes_hidden() && !last.gives_hidden()));
  BOOST_TEST((!alone.takes_hidden() && !alone.gives_hidden()));
  BOOST_TEST(alone.operations.size() == whole->operations.size());
  BOOST_TEST(first.operations.size() + middle.operations.size() + last.operations.size() ==
             whole->operations.size() + 4);
  BOOST_TEST(middle.layers == 2u);
  for (const auto* stage : {&first, &middle, &last}) {
    const bool has_logits = stage == &last;
    BOOST_TEST(names(*stage, "output.weight") == has_logits);
    BOOST_TEST(names(*stage, "output_norm.weight") == has_logits);
    BOOST_TEST(std::ranges::any_of(stage->operations, [](const auto& op) { return op.kind == op_kind::take_rows; }) ==
               has_logits);
    for (const auto& op : stage->operations)
      BOOST_TEST(op.layer < stage->layers);
  }
  BOOST_TEST((names(middle, "blk.2.attn_q.weight") && names(middle, "blk.3.ffn_down.weight")));
  BOOST_TEST((!names(middle, "blk.1.attn_q.weight") && !names(middle, "blk.4.attn_q.weight")));
}

BOOST_AUTO_TEST_CASE(the_stage_that_costs_most_costs_as_little_as_any_cut_allows) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> cost(0.1, 3);
  for (int i = 0; i < 400; ++i) {
    layer_costs costs;
    for (auto layers = 1 + random() % 9; layers > 0; --layers)
      costs.layers.push_back(i % 2 == 0 ? cost(random) : 1);
    costs.embed = i % 3 == 0 ? 0 : cost(random);
    costs.head = cost(random) * 3;
    for (unsigned stages = 1; stages <= costs.layers.size(); ++stages) {
      const auto cut = balance_layers(costs, stages);
      BOOST_REQUIRE_MESSAGE(cut, cut.error().message);
      BOOST_TEST_REQUIRE(cut->size() == stages);
      std::uint32_t at = 0;
      double largest = 0;
      for (const auto& stage : *cut) {
        BOOST_TEST_REQUIRE((stage.begin == at && stage.size() > 0));
        at = stage.end;
        largest = std::max(largest, cost_of(costs, stage));
      }
      BOOST_TEST_REQUIRE(at == costs.layers.size());
      BOOST_TEST(largest <= smallest_largest(costs, 0, stages) * (1 + 1e-12));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_head_that_costs_much_has_few_layers_beside_it_and_the_others_share_alike) {
  const layer_costs costs{.layers = std::vector<double>(30, 1), .embed = 0.01, .head = 12};
  const auto cut = balance_layers(costs, 4);
  BOOST_REQUIRE(cut);
  BOOST_TEST((*cut == std::vector<index_range>{{0, 9}, {9, 19}, {19, 29}, {29, 30}}));
}

BOOST_AUTO_TEST_CASE(more_stages_than_layers_and_none_are_refused) {
  const layer_costs costs{.layers = {1, 1, 1}};
  BOOST_TEST((balance_layers(costs, 4).error().code == errc::invalid_argument));
  BOOST_TEST((balance_layers(costs, 0).error().code == errc::invalid_argument));
  BOOST_TEST(balance_layers(costs, 4).error().message.find('3') != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
