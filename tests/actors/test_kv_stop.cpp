// What becomes of computed blocks when an engine with a tier stops.
#include <set>

#include "actors/kv_tier.hpp"
#include "tests/actors/engine_fixture.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(stopping_with_a_tier)

namespace {

/// What a test sees of a tier, after the engine has ended, too.
struct kept_blocks {
  std::mutex mutex;
  std::set<std::vector<token_id>> contents; ///< Of the fake device.
  gate saving; ///< Before each save.

  std::size_t size() {
    std::lock_guard lock(mutex);
    return contents.size();
  }
};

class watched_tier final : public block_tier {
public:
  explicit watched_tier(std::shared_ptr<kept_blocks> kept) : kept_(std::move(kept)) {}
  std::string_view name() const override { return "watched"; }
  std::vector<block_hash> list() const override { return {}; }
  bool contains(const block_hash&) const override { return false; }
  tier_saved save(const tier_block& block) override {
    kept_->saving.pass();
    std::lock_guard lock(kept_->mutex);
    std::vector<token_id> tokens(block.bytes->size() / sizeof(token_id));
    std::memcpy(tokens.data(), block.bytes->data(), block.bytes->size());
    kept_->contents.insert(std::move(tokens));
    return {true, {}, {}};
  }
  expected<shared_bytes> load(const block_hash&) override { return fail(errc::not_found, "Nothing is."); }
  void use(const block_hash&) override {}
  void drop(const block_hash&) override {}
  tier_counts counts() const override { return {}; }
  expected<void> check_integrity() const override { return {}; }

private:
  std::shared_ptr<kept_blocks> kept_;
};

auto with(const std::shared_ptr<kept_blocks>& kept) {
  return [=](engine_options& options) {
    options.cache.tier.max_saving = 2;
    options.open_tier = [=]() -> expected<std::unique_ptr<block_tier>> { return std::make_unique<watched_tier>(kept); };
  };
}

/// The contents of block `number` of a sequence, as the fake device has them.
std::vector<token_id> block_of(const std::vector<token_id>& tokens, std::size_t number) {
  const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(number * tokens_per_block);
  return {begin, begin + tokens_per_block};
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_being_written_and_what_waits_for_it_is_in_the_tier_before_the_engine_ends) {
  auto kept = std::make_shared<kept_blocks>();
  kept->saving.shut();
  const auto prompt = numbered_prompt(1, 200);
  {
    engine_fixture engine(with(kept));
    client user(engine);
    user.submit(1, prompt, 4);
    user.wait(1);
    kept->saving.wait_for_somebody(); // the first two of twelve are on their way
    engine.stop();
    kept->saving.open();
  }
  BOOST_TEST(kept->size() == 12u);
  for (std::size_t i = 0; i < 12; ++i)
    BOOST_TEST(kept->contents.contains(block_of(prompt, i)));
}

BOOST_AUTO_TEST_CASE(what_a_running_request_has_computed_is_in_the_tier_before_the_engine_ends) {
  auto kept = std::make_shared<kept_blocks>();
  const auto prompt = numbered_prompt(2, 100);
  {
    engine_fixture engine(with(kept));
    client user(engine);
    user.submit(1, prompt, 700, [](generate_request& request) { request.credit = 8; });
    user.take_until([&] { return user.answers[1].tokens.size() == 8; });
    BOOST_TEST(kept->size() == 0u);
    engine.stop();
    user.wait(1);
  }
  BOOST_TEST(kept->size() == 6u);
  for (std::size_t i = 0; i < 6; ++i)
    BOOST_TEST(kept->contents.contains(block_of(prompt, i)));
}

BOOST_AUTO_TEST_CASE(an_engine_whose_worker_is_gone_does_not_wait_for_what_nobody_can_read) {
  auto kept = std::make_shared<kept_blocks>();
  {
    engine_fixture engine(with(kept));
    engine.device->loading_gate.shut();
    caf::anon_send_exit(engine.tree.engines.front().workers.front(), caf::exit_reason::kill);
    engine.device->loading_gate.wait_for_somebody();
    engine.stop();
    engine.device->loading_gate.open();
  }
  BOOST_TEST(kept->size() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
