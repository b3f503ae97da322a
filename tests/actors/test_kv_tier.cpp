// The keeper of a tier, and blocks on their way between a tier and a device.
#include <boost/test/unit_test.hpp>

#include "actors/block_contents.hpp"
#include "actors/executor.hpp"
#include "actors/kv_tier.hpp"
#include "actors/stage.hpp"
#include "actors/system.hpp"
#include "actors/worker.hpp"
#include "engine/kv/memory_tier.hpp"
#include "tests/engine/kv_tier_support.hpp"
#include "tests/support/fake_backend.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

namespace {

/// A system of actors and a mailbox for the test.
struct actors {
  actors() {
    configure(config);
    system.emplace(config);
    self.emplace(*system);
  }
  ~actors() {
    self.reset();
    system->await_all_actors_done();
  }

  template <class T, class Actor, class... Args>
  T ask(const Actor& actor, Args... args) {
    T result{};
    (*self)
      ->request(actor, 20s, args...)
      .receive([&](T& answer) { result = std::move(answer); },
               [&](const caf::error& e) { BOOST_ERROR("no answer: " << caf::to_string(e)); });
    return result;
  }

  caf::actor_system_config config;
  std::optional<caf::actor_system> system;
  std::optional<caf::scoped_actor> self;
};

/// A keeper that ends with the test.
struct kept_tier : actors {
  explicit kept_tier(tier_factory open) : tier(system->spawn<caf::detached>(kv_tier, std::move(open))) {}
  ~kept_tier() {
    BOOST_TEST(ask<expected<nothing>>(tier, check_atom::value).has_value());
    caf::anon_send_exit(tier, caf::exit_reason::user_shutdown);
    tier = nullptr;
  }

  std::vector<block_hash> list() {
    auto answer = ask<expected<std::vector<block_hash>>>(tier, list_atom::value);
    BOOST_REQUIRE_MESSAGE(answer, answer.error().message);
    return *answer;
  }

  kv_tier_actor tier;
};

tier_factory disk_at(const std::filesystem::path& folder, std::uint64_t blocks) {
  return [=]() -> expected<std::unique_ptr<block_tier>> { return disk_tier::open(tier_options(folder, blocks)); };
}

std::vector<tier_block> numbered_blocks(std::initializer_list<std::uint64_t> numbers) {
  std::vector<tier_block> result;
  for (auto number : numbers)
    result.push_back({numbered_hash(number), numbered_bytes(number)});
  return result;
}

/// An executor with a worker behind it, whose supervisor is the test.
struct small_engine : actors {
  small_engine() {
    device->vocabulary = 300;
    executor_handle =
      system->spawn(executor, caf::actor_cast<supervisor_actor>(caf::strong_actor_ptr{(*self)->ctrl()}), 0u,
                     observers{});
    add_stage();
  }
  ~small_engine() {
    caf::anon_send_exit(executor_handle, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(stage_handle, caf::exit_reason::user_shutdown);
    executor_handle = nullptr;
    stage_handle = nullptr;
  }

  void add_stage() {
    worker_options options;
    options.make_backend = [device = device]() -> expected<std::unique_ptr<backend>> {
      if (device->refuse_to_load)
        return tl::unexpected(*device->refuse_to_load);
      return std::make_unique<fake_backend>(device, std::vector<kv_group_options>{{8, 0}, {8, 32}});
    };
    options.vocabulary = 300;
    options.kv_groups = 2;
    options.results = executor_handle;
    stage_handle = system->spawn(stage,
                                 std::vector<worker_actor>{system->spawn<caf::detached>(worker, std::move(options))},
                                 std::shared_ptr<shared_group>());
    (*self)->send(executor_handle, replace_atom::value, std::vector{stage_handle});
  }

  expected<block_contents> read(std::uint64_t epoch, std::vector<block_place> places) {
    return ask<expected<block_contents>>(executor_handle, read_atom::value, epoch, std::move(places));
  }
  expected<nothing> write(std::uint64_t epoch, block_contents contents) {
    return ask<expected<nothing>>(executor_handle, write_atom::value, epoch, std::move(contents));
  }

  std::shared_ptr<fake_device> device = std::make_shared<fake_device>();
  executor_actor executor_handle;
  stage_actor stage_handle;
};

constexpr std::size_t fake_block_bytes = tokens_per_block * sizeof(token_id);

/// A step that computes the first positions of one sequence, in block 3 of the first group and block 5 of the second.
step_ptr first_step(const std::vector<token_id>& tokens) {
  auto step = std::make_shared<step_changes>();
  step->snapshot = true;
  step->joined.emplace_back();
  step->joined.back().prompt_tokens = static_cast<std::uint32_t>(tokens.size());
  step->joined.back().sampling = std::make_shared<const sequence_sampling>();
  step->blocks = {3, 5};
  step->appended = {{0, 0, 0, 1}, {0, 1, 1, 1}};
  step->tokens = tokens;
  step_rows rows;
  rows.count = static_cast<std::uint32_t>(tokens.size());
  step->rows = {rows};
  return step;
}

} // namespace

BOOST_AUTO_TEST_SUITE(kv_tier_actors)

BOOST_AUTO_TEST_CASE(a_keeper_saves_lists_loads_and_drops_blocks) {
  kept_tier on([]() -> expected<std::unique_ptr<block_tier>> { return std::make_unique<memory_tier>(4096); });
  const auto saved = on.ask<tier_saves>(on.tier, save_atom::value, numbered_blocks({1, 2, 3}));
  BOOST_TEST((saved.saved == std::vector<bool>(3, true)));
  BOOST_TEST(on.list().size() == 3u);
  const auto layers = on.ask<std::vector<tier_counts>>(on.tier, status_atom::value);
  BOOST_TEST((layers.size() == 1 && layers[0].name == "host" && layers[0].saved == 3));
  BOOST_TEST(on.ask<expected<nothing>>(on.tier, use_atom::value, std::vector{numbered_hash(1)}).has_value());
  BOOST_TEST((on.list().back() == numbered_hash(1)));
  (*on.self)->send(on.tier, drop_atom::value, std::vector<block_hash>{numbered_hash(2)});
  const std::vector<block_hash> wanted{numbered_hash(1), numbered_hash(2), numbered_hash(3)};
  const auto loaded = on.ask<std::vector<shared_bytes>>(on.tier, load_atom::value, wanted);
  BOOST_REQUIRE(loaded.size() == 3u);
  BOOST_TEST((*loaded[0] == *numbered_bytes(1) && !loaded[1] && *loaded[2] == *numbered_bytes(3)));
}

BOOST_AUTO_TEST_CASE(another_keeper_of_the_same_folder_finds_what_the_first_has_saved) {
  const temporary_folder folder;
  {
    kept_tier on(disk_at(folder.path(), 2));
    const auto saved = on.ask<tier_saves>(on.tier, save_atom::value, numbered_blocks({1, 2}));
    BOOST_TEST((saved.saved == std::vector<bool>(2, true)));
    const auto more = on.ask<tier_saves>(on.tier, save_atom::value, numbered_blocks({3}));
    BOOST_TEST((more.evicted == std::vector<block_hash>{numbered_hash(1)}));
  }
  kept_tier on(disk_at(folder.path(), 2));
  BOOST_TEST((on.list() == std::vector<block_hash>{numbered_hash(2), numbered_hash(3)}));
}

BOOST_AUTO_TEST_CASE(a_tier_that_cannot_be_opened_says_why_and_has_nothing) {
  kept_tier on(disk_at("/proc/no/such/folder", 2));
  const auto listed = on.ask<expected<std::vector<block_hash>>>(on.tier, list_atom::value);
  BOOST_REQUIRE(!listed);
  BOOST_TEST((listed.error().code == errc::io));
  const auto saved = on.ask<tier_saves>(on.tier, save_atom::value, numbered_blocks({1, 2}));
  BOOST_TEST((saved.saved == std::vector<bool>(2, false)));
  const std::vector<block_hash> wanted{numbered_hash(1)};
  BOOST_TEST((on.ask<std::vector<shared_bytes>>(on.tier, load_atom::value, wanted) == std::vector<shared_bytes>(1)));
  BOOST_TEST(!on.ask<std::vector<tier_counts>>(on.tier, status_atom::value)[0].accepts);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(block_transfers)

BOOST_AUTO_TEST_CASE(what_was_written_to_blocks_is_read_from_them_in_each_group) {
  small_engine engine;
  const block_contents contents{{{0, 3}, numbered_bytes(1, fake_block_bytes)},
                                {{1, 3}, numbered_bytes(2, fake_block_bytes)},
                                {{0, 7}, numbered_bytes(3, fake_block_bytes)}};
  BOOST_TEST(engine.write(0, contents).has_value());
  const auto read = engine.read(0, {{0, 7}, {0, 3}, {1, 3}});
  BOOST_REQUIRE(read);
  BOOST_REQUIRE(read->size() == 3u);
  BOOST_TEST(((*read)[0].place == block_place{0, 7} && *(*read)[0].bytes == *numbered_bytes(3, fake_block_bytes)));
  BOOST_TEST((*(*read)[1].bytes == *numbered_bytes(1, fake_block_bytes)));
  BOOST_TEST((*(*read)[2].bytes == *numbered_bytes(2, fake_block_bytes)));
}

BOOST_AUTO_TEST_CASE(a_block_is_read_after_the_steps_that_were_sent_before) {
  small_engine engine;
  std::vector<token_id> tokens;
  for (token_id i = 0; i < 16; ++i)
    tokens.push_back(100 + i);
  (*engine.self)->send(engine.executor_handle, step_atom::value, first_step(tokens));
  const auto read = engine.read(0, {{0, 3}, {1, 5}});
  BOOST_REQUIRE_MESSAGE(read, read.error().message);
  for (const auto& content : *read)
    BOOST_TEST(std::memcmp(content.bytes->data(), tokens.data(), fake_block_bytes) == 0);
}

BOOST_AUTO_TEST_CASE(blocks_of_another_epoch_are_refused) {
  small_engine engine;
  for (std::uint64_t epoch : {1, 2}) {
    const auto read = engine.read(epoch, {{0, 1}});
    BOOST_REQUIRE(!read);
    BOOST_TEST((read.error().code == errc::unavailable));
    const auto written = engine.write(epoch, {{{0, 1}, numbered_bytes(1, fake_block_bytes)}});
    BOOST_REQUIRE(!written);
    BOOST_TEST((written.error().code == errc::unavailable));
  }
}

BOOST_AUTO_TEST_CASE(after_a_workers_death_blocks_are_refused_until_another_is_there_and_then_by_the_old_epoch) {
  small_engine engine;
  BOOST_TEST(engine.read(0, {{0, 1}}).has_value());
  caf::anon_send_exit(engine.stage_handle, caf::exit_reason::kill);
  bool asked = false; // For another stage: the executor knows.
  (*engine.self)->receive([&](replace_atom, std::uint32_t, const std::string&) { asked = true; }, caf::after(20s) >> [] {});
  BOOST_REQUIRE(asked);
  BOOST_TEST(!engine.read(0, {{0, 1}}));
  BOOST_TEST(!engine.read(1, {{0, 1}}));
  engine.add_stage();
  BOOST_TEST(!engine.read(0, {{0, 1}}));
  BOOST_TEST(engine.read(1, {{0, 1}}).has_value());
}

BOOST_AUTO_TEST_CASE(contents_of_a_wrong_size_change_no_block) {
  small_engine engine;
  const auto before = engine.read(0, {{0, 1}, {0, 2}});
  const auto written = engine.write(
    0, {{{0, 1}, numbered_bytes(1, fake_block_bytes)}, {{0, 2}, numbered_bytes(2, fake_block_bytes - 1)}});
  BOOST_REQUIRE(!written);
  BOOST_TEST((written.error().code == errc::internal));
  BOOST_TEST(!engine.write(0, {{{0, 1}, nullptr}}));
  const auto after = engine.read(0, {{0, 1}, {0, 2}});
  for (std::size_t i = 0; i < 2; ++i)
    BOOST_TEST((*(*before)[i].bytes == *(*after)[i].bytes));
}

BOOST_AUTO_TEST_CASE(a_worker_that_could_not_load_answers_with_its_reason) {
  small_engine engine;
  engine.device->refuse_to_load = error{errc::out_of_memory, "There is no memory."};
  caf::anon_send_exit(engine.stage_handle, caf::exit_reason::kill);
  (*engine.self)->receive([&](replace_atom, std::uint32_t, const std::string&) {}, caf::after(20s) >> [] {});
  engine.add_stage();
  const auto read = engine.read(1, {{0, 1}});
  BOOST_REQUIRE(!read);
  BOOST_TEST((read.error().code == errc::out_of_memory));
}

BOOST_AUTO_TEST_CASE(a_worker_says_what_a_stored_block_depends_on) {
  small_engine engine;
  const auto info = engine.ask<expected<worker_info>>(engine.executor_handle, info_atom::value);
  BOOST_REQUIRE(info);
  BOOST_TEST(info->kv_type == "tokens");
  BOOST_TEST((info->block_bytes == std::vector<std::uint64_t>(2, fake_block_bytes)));
}

BOOST_AUTO_TEST_SUITE_END()
