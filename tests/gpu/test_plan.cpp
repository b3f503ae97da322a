#include <boost/test/unit_test.hpp>

#include "gpu/backend/plan.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::test;

namespace {

struct opened {
  std::shared_ptr<const gguf::file> file;
  model_program program;
};

opened open_tiny() {
  auto file = gguf::parse(tiny_model({.layers = 2, .width = 128, .head_size = 64}));
  BOOST_REQUIRE(file);
  auto program = make_program(**file);
  BOOST_REQUIRE(program);
  return {*file, *program};
}

std::vector<step_kind> kinds_of(const model_program& program) {
  const auto steps = plan_steps(program);
  BOOST_REQUIRE_MESSAGE(steps, steps.error().message);
  std::vector<step_kind> out;
  for (const auto& each : *steps)
    out.push_back(each.kind);
  return out;
}

using enum step_kind;
const std::vector<step_kind> first_layer{norm,    product, product, product, rope_store, attention,
                                         product, norm,    product, product, swiglu,     product};
const std::vector<step_kind> last_layer{norm, product, product, product, rope_store, attention, take_rows, product,
                                        norm, product, product, swiglu,  product,    norm,      product};

std::vector<step_kind> operator+(std::vector<step_kind> a, const std::vector<step_kind>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_plan)

BOOST_AUTO_TEST_CASE(residuals_go_into_products_where_one_device_has_all_of_them) {
  const auto model = open_tiny();
  BOOST_TEST((kinds_of(model.program) == std::vector{embed} + first_layer + last_layer));
  unsigned accumulating = 0;
  const auto steps = *plan_steps(model.program);
  for (const auto& each : steps) {
    accumulating += each.accumulates;
    BOOST_TEST(!each.adds);
    BOOST_TEST((!each.accumulates || each.output == device_buffer::hidden));
  }
  BOOST_TEST(accumulating == 4u);
}

BOOST_AUTO_TEST_CASE(with_more_ranks_residuals_are_added_by_the_norm_after_the_sum_of_all) {
  const auto model = open_tiny();
  const auto plan = plan_shards(model.program, *model.file, 2);
  BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
  const auto steps = *plan_steps(program_of_rank(model.program, *plan, 1));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    BOOST_TEST(!steps[i].accumulates);
    const bool after_sum =
      i >= 1 && steps[i - 1].kind == all_reduce && steps[i - 1].output == device_buffer::projected;
    if (steps[i].kind == norm)
      BOOST_TEST(steps[i].adds == after_sum);
  }
  BOOST_TEST((steps.back().kind == all_gather));
}

BOOST_AUTO_TEST_CASE(a_stage_takes_and_gives_rows) {
  const auto model = open_tiny();
  BOOST_TEST((kinds_of(program_of_stage(model.program, {0, 1})) ==
              std::vector{embed} + first_layer + std::vector{give_hidden}));
  BOOST_TEST((kinds_of(program_of_stage(model.program, {1, 2})) == std::vector{take_hidden} + last_layer));
  const auto plan = plan_shards(model.program, *model.file, 2);
  const auto steps = *plan_steps(program_of_stage(program_of_rank(model.program, *plan, 0), {0, 1}));
  BOOST_TEST((steps[steps.size() - 2].kind == add)); // No norm follows.
}

BOOST_AUTO_TEST_CASE(an_order_of_operations_without_kernels_is_refused) {
  auto program = open_tiny().program;
  for (auto& op : program.operations)
    if (op.kind == op_kind::swiglu)
      op.output = buffer::up;
  const auto steps = plan_steps(program);
  BOOST_REQUIRE(!steps);
  BOOST_TEST((steps.error().code == errc::unsupported));
}

BOOST_AUTO_TEST_SUITE_END()
