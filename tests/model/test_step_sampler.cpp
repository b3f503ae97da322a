// Steps sampled by ranks that share the vocabulary, against one that has all of it.
#include <boost/test/unit_test.hpp>

#include <cassert>
#include <limits>
#include <thread>

#include "comm/shared_memory.hpp"
#include "model/step_sampler.hpp"
#include "tests/model/sampling/random_rows.hpp"

using namespace troupe;
using namespace troupe::tests;

BOOST_AUTO_TEST_SUITE(step_sampler_suite)

namespace {

constexpr std::uint32_t vocabulary = 500, prompt = 4;

/// A device that has a part of the vocabulary, and another's logits in the rows alone that were to be gathered.
class part_device final : public backend {
public:
  part_device(vocabulary_share own, std::unique_ptr<communicator> group) : own_(own), group_(std::move(group)) {}

  std::string_view name() const override { return "part"; }
  memory_account memory() const override { return {}; }
  std::string_view kv_type() const override { return "none"; }
  std::size_t block_bytes(kv_group) const override { return 0; }
  expected<void> read_block(kv_group, block_id, std::span<std::byte>) const override { return {}; }
  expected<void> write_block(kv_group, block_id, std::span<const std::byte>) override { return {}; }
  expected<void> copy_block(kv_group, block_id, block_id) override { return {}; }
  expected<void> forward(const forward_batch&, std::span<float>) override { return {}; }

  vocabulary_share own_vocabulary() const override { return own_; }
  expected<void> exchange(std::span<const std::byte> mine, std::span<std::byte> all) override {
    ++exchanges;
    bytes = mine.size();
    return group_->all_gather(mine, all, std::chrono::steady_clock::now() + std::chrono::seconds(20));
  }
  unsigned threads() const override { return 2; }

  /// What this rank has of the logits; the rest is no number, so that nobody takes it for one.
  std::vector<float> seen(std::vector<float> logits, std::span<const std::uint32_t> own_logits) const {
    for (const auto row : own_logits)
      for (std::uint32_t i = 0; i < vocabulary; ++i)
        if (i < own_.begin || i >= own_.end)
          logits[row * vocabulary + i] = std::numeric_limits<float>::quiet_NaN();
    return logits;
  }

  int exchanges = 0;
  std::size_t bytes = 0;

private:
  vocabulary_share own_;
  std::unique_ptr<communicator> group_;
};

struct sequence {
  sequence_sampling sampling;
  std::vector<token_id> drafts = {};
  bool judged = false; ///< Its prompt.
};

/// A step in which these sequences join, each with its whole prompt, and are sampled.
struct joined_step {
  step_changes changes;
  std::vector<float> logits;
  batch_state batch;
  const batch_state::rows* rows = nullptr;

  joined_step(const std::vector<sequence>& sequences, std::uint64_t seed) {
    changes.epoch = changes.step = 1;
    changes.snapshot = true;
    for (slot_id slot = 0; slot < sequences.size(); ++slot) {
      const auto& one = sequences[slot];
      const auto sampling = std::make_shared<const sequence_sampling>(one.sampling);
      const std::vector<token_id> tokens{1, 2, static_cast<token_id>(slot), 4};
      changes.joined.push_back(
        {slot, slot + 1, sampling, prompt,
         sampling->needs_history() ? std::make_shared<const std::vector<token_id>>(tokens) : shared_tokens()});
      changes.appended.push_back({slot, 0, slot, 1});
      changes.blocks.push_back(slot);
      step_rows row{slot, 0, prompt, static_cast<std::uint32_t>(changes.tokens.size())};
      row.drafts = static_cast<std::uint16_t>(one.drafts.size());
      row.count += row.drafts;
      row.samples = true;
      row.prompt_logprobs = one.judged;
      changes.rows.push_back(row);
      changes.tokens.insert(changes.tokens.end(), tokens.begin(), tokens.end());
      changes.tokens.insert(changes.tokens.end(), one.drafts.begin(), one.drafts.end());
    }
    const auto applied = batch.apply(changes);
    assert(applied);
    rows = *applied;
    random_rows random(seed);
    for (std::size_t i = 0; i < rows->logit_rows.size(); ++i) {
      const auto row = random.row(vocabulary);
      logits.insert(logits.end(), row.begin(), row.end());
    }
  }
};

struct sampled {
  step_result result;
  bool done = false;
  int exchanges = 0;
  std::size_t bytes = 0, own_rows = 0;
};

sampled sample_on(backend& device, const std::vector<sequence>& sequences, std::uint64_t seed) {
  joined_step step(sequences, seed);
  step_sampler sampler(vocabulary);
  for (const auto& joined : step.changes.joined)
    sampler.join(joined);
  sampled out;
  out.result.step = step.changes.step;
  auto logits = step.logits;
  forward_batch batch;
  sampler.prepare(*step.rows, device, batch);
  out.own_rows = batch.own_logits.size();
  auto* part = dynamic_cast<part_device*>(&device);
  if (part)
    logits = part->seen(std::move(logits), batch.own_logits);
  const auto done = sampler.sample(*step.rows, logits, device, step.batch, out.result);
  out.done = done.has_value(); // For the test's own thread.
  if (part) {
    out.exchanges = part->exchanges;
    out.bytes = part->bytes;
  }
  return out;
}

std::vector<sampled> sample_on_ranks(unsigned ranks, const std::vector<sequence>& sequences, std::uint64_t seed) {
  const shared_group_options options{.shards = std::vector<unsigned>(ranks, 1)};
  const auto group = shared_group::create(options);
  BOOST_REQUIRE(group.has_value());
  std::vector<std::unique_ptr<part_device>> devices;
  for (unsigned r = 0; r < ranks; ++r) {
    const std::uint32_t blocks = (vocabulary + 31) / 32, begin = blocks * r / ranks * 32,
                        end = std::min(vocabulary, blocks * (r + 1) / ranks * 32);
    devices.push_back(std::make_unique<part_device>(vocabulary_share{begin, end, ranks},
                                                    std::move(*join_shared_group(group->address(), options, r))));
  }
  std::vector<sampled> out(ranks);
  {
    std::vector<std::jthread> threads;
    for (unsigned r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] { out[r] = sample_on(*devices[r], sequences, seed); });
  }
  for (const auto& one : out)
    BOOST_TEST(one.done);
  return out;
}

sampled sample_alone(const std::vector<sequence>& sequences, std::uint64_t seed) {
  part_device whole({0, vocabulary, 1}, nullptr);
  return sample_on(whole, sequences, seed);
}

void check_same(const step_result& got, const step_result& wanted) {
  BOOST_TEST(got.sampled == wanted.sampled, boost::test_tools::per_element());
  BOOST_TEST(got.accepted == wanted.accepted, boost::test_tools::per_element());
  BOOST_TEST_REQUIRE(got.failures.size() == wanted.failures.size());
  for (std::size_t i = 0; i < got.failures.size(); ++i) {
    BOOST_TEST(got.failures[i].row == wanted.failures[i].row);
    BOOST_TEST(got.failures[i].why.message == wanted.failures[i].why.message);
  }
  for (auto of : {&step_result::logprobs, &step_result::prompt_logprobs}) {
    BOOST_TEST_REQUIRE((got.*of).size() == (wanted.*of).size());
    for (std::size_t i = 0; i < (got.*of).size(); ++i)
      BOOST_TEST(((got.*of)[i].tokens == (wanted.*of)[i].tokens));
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(ranks_sample_mixed_steps_as_one_that_has_all_logits) {
  random_rows random(1);
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::vector<sequence> sequences(1 + random.below(9));
    for (auto& one : sequences) {
      one.sampling = random.truncation(vocabulary);
      if (random.one_in(4))
        one.sampling.temperature = 0;
      if (random.one_in(3))
        one.sampling.frequency_penalty = 3;
      if (random.one_in(4))
        one.sampling.logprobs = static_cast<std::int32_t>(random.below(4));
      if (random.one_in(8))
        one.sampling.allowed_tokens = {vocabulary - 1, 3};
      if (random.one_in(5))
        one.sampling.prompt_logprobs = 1, one.judged = true;
    }
    // Drafts that are right for a while.
    for (std::size_t i = 0; i < sequences.size(); ++i)
      for (int more = 0; random.one_in(2) && more < 3; ++more) {
        auto guess = sequences;
        guess[i].drafts.push_back(0);
        const auto told = sample_alone(guess, seed).result;
        std::size_t at = 0;
        for (std::size_t before = 0; before < i; ++before)
          at += 1u + told.accepted[before];
        const auto token = std::max(told.sampled[at + told.accepted[i]], token_id{0});
        sequences[i].drafts.push_back(random.one_in(4) ? 7 : token);
      }
    const auto wanted = sample_alone(sequences, seed);
    BOOST_TEST(wanted.own_rows == 0u);
    for (unsigned ranks : {2u, 3u})
      for (const auto& got : sample_on_ranks(ranks, sequences, seed))
        check_same(got.result, wanted.result);
  }
}

BOOST_AUTO_TEST_CASE(a_step_is_exchanged_at_once_and_only_what_needs_it_is_gathered) {
  sequence_sampling greedy, warm, some, share, told;
  warm.temperature = some.temperature = share.temperature = 1;
  some.top_k = 20;
  share.top_p = 0.5f;
  told.logprobs = 2;
  for (const auto& got : sample_on_ranks(2, {{greedy}, {warm, {5}}, {some}}, 1)) {
    BOOST_TEST(got.own_rows == 4u); // All.
    BOOST_TEST(got.exchanges == 1);
    BOOST_TEST(got.bytes == (1 + 2 + 20) * sizeof(proposal));
  }
  for (const auto& got : sample_on_ranks(2, {{share}, {greedy}, {told}}, 1)) {
    BOOST_TEST(got.own_rows == 1u);
    BOOST_TEST(got.exchanges == 1);
    BOOST_TEST(got.bytes == sizeof(proposal));
  }
  for (const auto& got : sample_on_ranks(2, {{share}, {told}}, 1)) {
    BOOST_TEST(got.own_rows == 0u);
    BOOST_TEST(got.exchanges == 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()
