// A model shared by several workers: the same tokens as one gives, also when any of them dies.
#include "cpu/backends.hpp"
#include "model/sharding.hpp"
#include "model/stages.hpp"
#include "tests/actors/engine_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(ranks)

namespace {

std::shared_ptr<const model> three_groups() {
  static const auto loaded =
    load_tiny({.layers = 3, .heads = 6, .kv_heads = 3, .feed_forward = 160, .type = gguf::tensor_type::q4_1});
  return loaded;
}

/// How many workers share the model.
struct sharing {
  unsigned ranks = 1, stages = 1;
};

std::ostream& operator<<(std::ostream& out, const sharing& among) {
  return out << among.ranks << " ranks, " << among.stages << " stages";
}

/// An engine over real backends, with two threads each.
void share(engine_options& options, sharing among, decltype(&make_cpu_backend) make) {
  const bool reference = make == make_reference_backend;
  options.source = three_groups();
  options.stages = among.stages;
  const auto plan = plan_shards(options.source->program, *options.source->file, among.ranks);
  BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
  options.rank_shards = reference ? plan->shards_of_ranks() : std::vector<unsigned>(among.ranks, 1);
  options.make_rank = [make, among, plan = *plan, source = options.source, blocks = options.kv_blocks,
                       rows = options.plan.max_batched_tokens](const worker_seat& seat,
                                                               std::shared_ptr<communicator> group) {
    backend_options device{.kv_blocks = blocks, .max_rows = rows, .threads = 2};
    device.group = std::move(group);
    const auto layers = source->program.layers;
    auto part = program_of_rank(source->program, plan, seat.rank);
    if (among.stages > 1)
      part = program_of_stage(part, {layers * seat.stage / among.stages, layers * (seat.stage + 1) / among.stages});
    return make(source->file, part, device);
  };
}

constexpr std::uint32_t requests = 6, tokens = 20;

using answers = std::vector<std::vector<token_id>>;

void submit_all(client& c) {
  for (std::uint32_t i = 0; i < requests; ++i)
    c.submit(i, numbered_prompt(i, 5 + 9 * i), tokens);
}

answers wait_for_all(client& c) {
  answers out;
  for (std::uint32_t i = 0; i < requests; ++i)
    out.push_back(c.wait(i).tokens);
  return out;
}

answers undisturbed(sharing among, decltype(&make_cpu_backend) make) {
  engine_fixture engine([&](engine_options& o) { share(o, among, make); });
  client c(engine);
  submit_all(c);
  return wait_for_all(c);
}

void check_deaths(sharing among, decltype(&make_cpu_backend) make) {
  const auto wanted = undisturbed(among, make);
  for (std::size_t victim = 0; victim < among.ranks * among.stages; ++victim)
    for (std::size_t after : {0u, 10u}) {
      engine_fixture engine([&](engine_options& o) { share(o, among, make); });
      const auto workers = engine.tree.engines.front().workers;
      BOOST_TEST_REQUIRE(workers.size() == among.ranks * among.stages);
      client c(engine);
      submit_all(c);
      c.take_until([&] { return c.answers[0].tokens.size() >= after; });
      caf::anon_send_exit(workers[victim], caf::exit_reason::kill);
      BOOST_TEST((wait_for_all(c) == wanted),
                 "worker " << victim << " of " << among << " after " << after << " tokens");
      const auto now = engine.ask<actor_tree>(engine.supervisor, tree_atom::value);
      BOOST_TEST((now.engines.front().workers[victim] != workers[victim]), "Nobody has taken its place.");
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(any_number_of_ranks_and_stages_gives_the_same_tokens_on_the_reference_backend) {
  const auto wanted = undisturbed({}, make_reference_backend);
  for (const auto& answer : wanted)
    BOOST_TEST(answer.size() == tokens);
  for (sharing among : {sharing{2, 1}, {3, 1}, {1, 2}, {1, 3}, {2, 2}})
    BOOST_TEST((undisturbed(among, make_reference_backend) == wanted), among << " give other tokens.");
}

BOOST_AUTO_TEST_CASE(stages_give_the_tokens_of_one_worker_on_the_cpu_backend) {
  const auto wanted = undisturbed({}, make_cpu_backend);
  for (sharing among : {sharing{1, 2}, {1, 3}})
    BOOST_TEST((undisturbed(among, make_cpu_backend) == wanted), among << " give other tokens.");
}

BOOST_AUTO_TEST_CASE(requests_outlive_any_rank_that_is_killed) {
  check_deaths({2, 1}, make_reference_backend);
  check_deaths({2, 1}, make_cpu_backend);
}

BOOST_AUTO_TEST_CASE(requests_outlive_any_stage_that_is_killed) {
  check_deaths({1, 3}, make_reference_backend);
  check_deaths({1, 2}, make_cpu_backend);
}

BOOST_AUTO_TEST_CASE(weights_that_any_rank_cannot_load_end_every_request_with_the_reason) {
  for (unsigned failing : {0u, 1u}) {
    engine_fixture engine([&](engine_options& o) {
      share(o, {2, 1}, make_cpu_backend);
      o.make_rank = [failing,
                     make = o.make_rank](const worker_seat& seat,
                                         std::shared_ptr<communicator> group) -> expected<std::unique_ptr<backend>> {
        if (seat.rank == failing)
          return fail(errc::out_of_memory, "There is no memory, as the test wanted.");
        return make(seat, std::move(group));
      };
    });
    engine.expect_failure = true;
    client c(engine);
    c.submit(1, numbered_prompt(1, 20), 10);
    const auto& ended = c.wait(1).ends[0];
    BOOST_CHECK(ended.failure.code == errc::out_of_memory);
    BOOST_TEST(ended.failure.message == "There is no memory, as the test wanted.");
  } // The other rank waits for it, and wakes up when the engine stops.
}

BOOST_AUTO_TEST_CASE(a_status_tells_of_all_ranks) {
  engine_fixture one([](engine_options& o) { share(o, {}, make_cpu_backend); });
  engine_fixture three([](engine_options& o) { share(o, {3, 1}, make_cpu_backend); });
  const auto info_of = [](engine_fixture& engine) {
    const auto info = engine.ask<expected<worker_info>>(engine.tree.engines.front().executor, info_atom::value);
    BOOST_REQUIRE_MESSAGE(info, (info ? "" : info.error().message));
    return *info;
  };
  const auto whole = info_of(one), parts = info_of(three);
  BOOST_TEST(parts.block_bytes == whole.block_bytes, boost::test_tools::per_element());
  BOOST_TEST(parts.memory.kv_bytes >= whole.memory.kv_bytes);
  BOOST_TEST(parts.memory.weight_bytes >= whole.memory.weight_bytes);
  BOOST_TEST(parts.memory.weight_bytes < 2 * whole.memory.weight_bytes);
}

BOOST_AUTO_TEST_SUITE_END()
