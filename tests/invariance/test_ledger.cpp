// The ledger finds what it is there to find.
#include <boost/test/unit_test.hpp>

#include "tests/cpu/support.hpp"
#include "tests/invariance/bit_ledger.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(ledger)

namespace {

const backend_options sizes{.kv_blocks = 32, .max_rows = 128, .max_logit_rows = 128, .threads = 2};

/// Computes right but for one bit.
class liar final : public backend {
public:
  explicit liar(std::unique_ptr<backend> honest) : honest_(std::move(honest)) {}

  bool lies_about_logits = false, lies_about_keys = false; ///< In passes with two sequences.

  std::string_view name() const override { return honest_->name(); }
  std::string_view kv_type() const override { return honest_->kv_type(); }
  memory_account memory() const override { return honest_->memory(); }
  std::size_t block_bytes(kv_group group) const override { return honest_->block_bytes(group); }
  expected<void> read_block(kv_group group, block_id block, std::span<std::byte> to) const override {
    return honest_->read_block(group, block, to);
  }
  expected<void> write_block(kv_group group, block_id block, std::span<const std::byte> from) override {
    return honest_->write_block(group, block, from);
  }
  expected<void> copy_block(kv_group group, block_id from, block_id to) override { return honest_->copy_block(group, from, to); }
  expected<void> forward(const forward_batch& batch, std::span<float> logits) override {
    if (auto done = honest_->forward(batch, logits); !done)
      return done;
    if (batch.spans.size() < 2)
      return {};
    if (lies_about_logits)
      flip(std::as_writable_bytes(logits).back()); // Of the sequence whose logits are known.
    if (!lies_about_keys)
      return {};
    std::vector<std::byte> bytes(block_bytes(0));
    const auto block = batch.spans[0].blocks[0];
    read_block(0, block, bytes);
    flip(bytes.front());
    write_block(0, block, bytes);
    return {};
  }

private:
  static void flip(std::byte& one) { one ^= std::byte{1}; }

  std::unique_ptr<backend> honest_;
};

/// Two sequences of a tiny model, apart and then together. `change` may spoil what is between the two.
template <class Change>
bit_ledger::counts apart_and_together(const std::shared_ptr<bit_ledger>& ledger, Change change) {
  auto file = gguf::parse(tiny_model({}));
  BOOST_REQUIRE(file);
  auto on = load(*file, make_cpu_backend, sizes);
  auto middle = std::make_unique<liar>(std::move(on.backend));
  auto& between = *middle;
  on.backend = std::make_unique<watched_backend>(std::move(middle), ledger, on.program.vocabulary, sizes.kv_blocks);
  const auto all = random_sequences(on.program, std::vector{40u, 20u}, 3);
  ledger->begin("apart");
  for (auto one : all)
    forward(on, std::vector<piece>{{&one, static_cast<std::uint32_t>(one.tokens.size())}});
  auto again = all;
  change(between, again);
  ledger->begin("together");
  forward(on, std::vector<piece>{{&again[0], 30}, {&again[1], 20}});
  forward(on, std::vector<piece>{{&again[0], 10}});
  return ledger->seen();
}

} // namespace

BOOST_AUTO_TEST_CASE(a_ledger_compares_all_that_is_computed_again_and_says_how_it_was_cut) {
  auto ledger = std::make_shared<bit_ledger>();
  std::vector<token_id> tokens;
  const auto seen = apart_and_together(ledger, [&](liar&, const auto& all) { tokens = all[0].tokens; });
  BOOST_TEST(ledger->violations().empty());
  BOOST_TEST(seen.passes == 2u);
  BOOST_TEST(seen.rows == 60u);
  BOOST_TEST(seen.rows_beside_others == 50u);
  BOOST_TEST(seen.most_spans == 2u);
  BOOST_TEST(seen.most_rows == 50u);
  BOOST_TEST(seen.longest_span == 30u);
  BOOST_TEST(seen.logits_again == 2u); // Those after 30 tokens are new.
  BOOST_TEST(seen.blocks_again == 3u);
  const auto cuts = [&](std::size_t count) { return ledger->cuts_of(name_of(std::span(tokens).first(count))); };
  BOOST_CHECK((cuts(16) == std::set<block_cuts>{1}));
  BOOST_CHECK((cuts(32) == std::set<block_cuts>{1u << 14}));
  BOOST_TEST(cuts(17).empty());
}

BOOST_AUTO_TEST_CASE(a_ledger_sees_one_wrong_bit_of_a_logit_and_of_a_key) {
  for (auto lie : {&liar::lies_about_logits, &liar::lies_about_keys}) {
    auto ledger = std::make_shared<bit_ledger>();
    apart_and_together(ledger, [&](liar& between, const auto&) { between.*lie = true; });
    BOOST_TEST(ledger->violations().size() >= 1u);
  }
}

BOOST_AUTO_TEST_CASE(a_ledger_sees_a_table_with_the_blocks_of_another_sequence) {
  auto ledger = std::make_shared<bit_ledger>();
  apart_and_together(ledger, [](liar&, auto& all) {
    all[0].done = 32; // As after a hit, whose second block is a wrong one.
    all[0].blocks[1] = all[1].blocks[0];
    all[0].blocks.insert(all[0].blocks.end(), {30, 31});
    all[0].tokens.resize(72); // That the passes have rows enough.
  });
  BOOST_TEST(ledger->violations().size() >= 1u);
}

BOOST_AUTO_TEST_SUITE_END()
