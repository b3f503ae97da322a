// A whole engine over two devices of the shim: when a device waits in vain for the other one, the epoch is raised, and no request notices.
#include "tests/actors/engine_fixture.hpp"

#include <atomic>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#include "model/sharding.hpp"

using namespace troupe;
using namespace troupe::test;
using gpu::shim::planned_rank_fault;
using gpu::shim::rank_fault;

BOOST_AUTO_TEST_SUITE(gpu_engine)

namespace {

constexpr std::uint32_t requests = 3, tokens = 8;

std::shared_ptr<const model> two_groups() {
  static const auto loaded = load_tiny({.seed = 3,
                                        .layers = 1,
                                        .width = 128,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .head_size = 64,
                                        .feed_forward = 128,
                                        .context = 1024,
                                        .type = gguf::tensor_type::q8_0});
  return loaded;
}

/// Two ranks; the last of those that are made first has the fault.
void share(engine_options& options, const planned_rank_fault& fault, std::chrono::milliseconds timeout) {
  options.source = two_groups();
  options.rank_shards = {1, 1};
  const auto plan = plan_shards(options.source->program, *options.source->file, 2);
  BOOST_REQUIRE_MESSAGE(plan, (plan ? "" : plan.error().message));
  options.make_rank = [=, made = std::make_shared<std::atomic<std::uint32_t>>(0), plan = *plan,
                       source = options.source, blocks = options.kv_blocks, rows = options.plan.max_batched_tokens](
                        const worker_seat& seat, std::shared_ptr<communicator> group) {
    backend_options own{.kv_blocks = blocks, .max_rows = rows};
    own.batch_invariant = true; // What is computed again has the same bits.
    own.group = std::move(group);
    own.collective_timeout = timeout;
    const auto number = (*made)++;
    gpu::shim::shim_options device{.memory_bytes = std::size_t{1} << 28, .seed = number + 1};
    if (number < 2 && seat.rank == 1)
      device.rank_fault = fault;
    return gpu::load_backend(std::make_unique<gpu::shim::shim_runtime>(gpu::shim_kernels(), device), "cuda-shim",
                             source->file, program_of_rank(source->program, plan, seat.rank), own);
  };
}

struct outcome {
  std::vector<std::vector<token_id>> answers;
  std::uint64_t epoch = 0;
};

outcome run(const planned_rank_fault& fault, std::chrono::milliseconds timeout) {
  engine_fixture engine([&](engine_options& options) { share(options, fault, timeout); });
  client c(engine);
  for (std::uint32_t i = 0; i < requests; ++i)
    c.submit(i, numbered_prompt(i, 5 + 4 * i), tokens);
  outcome out;
  for (std::uint32_t i = 0; i < requests; ++i)
    out.answers.push_back(c.wait(i).tokens);
  out.epoch = engine.ask<executor_status>(engine.tree.engines.front().executor, status_atom::value).epoch;
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(requests_outlive_a_rank_whose_device_hangs_aborts_or_fails) {
  const auto wanted = run({}, 60s);
  BOOST_TEST(wanted.epoch == 0u);
  for (const auto& answer : wanted.answers)
    BOOST_TEST(answer.size() == tokens);
  for (const auto what : {rank_fault::hang, rank_fault::abort, rank_fault::async_error})
    for (const std::uint64_t call :
         {0u, 2u, 13u}) // The group's making, the first step, one of the others; a step has three.
      BOOST_TEST_CONTEXT("fault " << int(what) << " at " << call) {
        const auto seen = run({.what = what, .call = call}, what == rank_fault::hang ? 1s : 60s);
        BOOST_TEST((seen.answers == wanted.answers));
        BOOST_TEST(seen.epoch >= 1u);
      }
}

BOOST_AUTO_TEST_SUITE_END()
