// A model on several ranks: plans that cut it, and the reference backend, whose logits have the same bits on any number.
#include <cmath>
#include <cstring>
#include <functional>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "comm/shared_memory.hpp"
#include "model/sharding.hpp"
#include "tests/cpu/support.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(sharding)

namespace {

using gguf::tensor_type;
using rows_of_logits = std::vector<std::vector<float>>;

const backend_options sizes{.kv_blocks = 64, .max_rows = 256, .max_logit_rows = 256, .threads = 2};
constexpr std::uint32_t lengths[] = {1, 7, 17, 40};

struct opened {
  std::shared_ptr<const gguf::file> file;
  model_program program;
};

opened open(const tiny_model_options& options) {
  auto file = gguf::parse(tiny_model(options));
  BOOST_REQUIRE(file);
  auto program = make_program(**file);
  BOOST_REQUIRE_MESSAGE(program, program.error().message);
  return {*file, *program};
}

/// All sequences in one batch, in two passes: their logits.
rows_of_logits compute(loaded& on) {
  auto all = random_sequences(on.program, lengths, 9);
  rows_of_logits out;
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<piece> pieces;
    for (auto& one : all) {
      const auto left = static_cast<std::uint32_t>(one.tokens.size()) - one.done;
      if (const auto rows = pass == 0 ? (left + 1) / 2 : left)
        pieces.push_back({&one, rows, rows});
    }
    for (auto& row : forward(on, pieces))
      out.push_back(std::move(row));
  }
  return out;
}

/// What each rank of `ranks` computes, each on a thread with its part of the model.
std::vector<rows_of_logits> on_ranks(const opened& model, unsigned ranks, maker make = make_reference_backend) {
  const auto plan = plan_shards(model.program, *model.file, ranks);
  BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
  // The reference backend keeps the results of logical shards apart; the other has one.
  const bool reference = make == make_reference_backend;
  const shared_group_options group_options{.shards =
                                             reference ? plan->shards_of_ranks() : std::vector<unsigned>(ranks, 1)};
  const auto group = shared_group::create(group_options);
  BOOST_REQUIRE_MESSAGE(group, group.error().message);
  std::vector<loaded> loaded_ranks;
  for (unsigned r = 0; r < ranks; ++r) {
    auto options = sizes;
    auto joined = join_shared_group(group->address(), group_options, r);
    BOOST_REQUIRE_MESSAGE(joined, joined.error().message);
    options.group = std::move(*joined);
    auto program = program_of_rank(model.program, *plan, r);
    auto made = make(model.file, program, options);
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    loaded_ranks.push_back({std::move(program), std::move(*made)});
  }
  std::vector<rows_of_logits> out(ranks);
  {
    std::vector<std::jthread> threads;
    for (unsigned r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] { out[r] = compute(loaded_ranks[r]); });
  }
  return out;
}

bool same_bits(const rows_of_logits& a, const rows_of_logits& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

double difference(const rows_of_logits& wanted, const rows_of_logits& got) {
  double sum = 0, size = 0;
  for (std::size_t r = 0; r < wanted.size(); ++r)
    for (std::size_t i = 0; i < wanted[r].size(); ++i) {
      sum += std::pow(wanted[r][i] - got[r][i], 2);
      size += std::pow(wanted[r][i], 2);
    }
  return std::sqrt(sum / size);
}

constexpr tiny_model_options three_groups{.seed = 4, .heads = 9, .kv_heads = 3, .head_size = 32, .feed_forward = 160};

} // namespace

BOOST_AUTO_TEST_CASE(a_plan_gives_every_part_to_one_rank_in_whole_blocks) {
  for (auto type : {tensor_type::f16, tensor_type::q4_1}) {
    auto options = three_groups;
    options.type = type;
    const auto model = open(options);
    for (unsigned ranks : {1u, 2u, 3u}) {
      const auto plan = plan_shards(model.program, *model.file, ranks);
      BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
      BOOST_TEST(plan->ranks() == ranks);
      const auto covers = [](const std::vector<index_range>& parts, std::uint32_t count, std::uint32_t unit) {
        std::uint32_t at = 0;
        for (const auto& part : parts) {
          BOOST_TEST((part.begin == at && part.size() > 0 && part.begin % unit == 0));
          at = part.end;
        }
        BOOST_TEST(at == count);
      };
      covers(plan->kv_heads, 3, 1);
      covers(plan->feed_forward, 160, type == tensor_type::q4_1 ? 32 : 1);
      covers(plan->shards, 3, 1);
      covers(plan->vocabulary, model.program.vocabulary, 32);
      std::uint32_t heads = 0, feed_forward = 0;
      for (unsigned r = 0; r < ranks; ++r) {
        const auto part = program_of_rank(model.program, *plan, r);
        BOOST_TEST(part.heads == part.kv_heads * 3);
        heads += part.heads;
        feed_forward += part.feed_forward;
      }
      BOOST_TEST(heads == 9);
      BOOST_TEST(feed_forward == 160);
    }
    BOOST_TEST((plan_shards(model.program, *model.file, 4).error().code == errc::invalid_argument));
    BOOST_TEST((plan_shards(model.program, *model.file, 0).error().code == errc::invalid_argument));
  }
}

BOOST_AUTO_TEST_CASE(kv_heads_that_share_a_block_of_weights_stay_together) {
  const auto model =
    open({.heads = 4, .kv_heads = 4, .head_size = 16, .feed_forward = 128, .type = tensor_type::q8_0});
  const auto plan = plan_shards(model.program, *model.file, 2);
  BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
  BOOST_TEST((plan->kv_heads == std::vector<index_range>{{0, 2}, {2, 4}}));
  BOOST_TEST((plan_shards(model.program, *model.file, 3).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(logits_have_the_same_bits_on_one_two_and_three_ranks) {
  for (auto type : {tensor_type::f32, tensor_type::q4_1, tensor_type::q8_0})
    for (bool tied : {true, false}) {
      auto options = three_groups;
      options.type = type;
      options.tied_embeddings = tied;
      const auto model = open(options);
      loaded whole{model.program, *make_reference_backend(model.file, model.program, sizes)};
      const auto near = compute(whole);
      const auto wanted = on_ranks(model, 1).front();
      BOOST_TEST(difference(near, wanted) < 1e-5);
      for (unsigned ranks : {2u, 3u})
        for (const auto& got : on_ranks(model, ranks))
          BOOST_TEST(same_bits(wanted, got), gguf::to_string(type) << " on " << ranks << " ranks");
    }
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_alone_fails_at_its_deadline_and_stays_failed) {
  const auto model = open(three_groups);
  const auto plan = plan_shards(model.program, *model.file, 2);
  BOOST_REQUIRE(plan);
  const shared_group_options group_options{.shards = plan->shards_of_ranks()};
  const auto group = shared_group::create(group_options);
  BOOST_REQUIRE(group);
  auto options = sizes;
  options.group = *join_shared_group(group->address(), group_options, 0);
  options.collective_timeout = options.loading_timeout = std::chrono::milliseconds(50);
  const auto program = program_of_rank(model.program, *plan, 0);
  for (auto make : {maker(make_reference_backend), maker(make_cpu_backend)})
    BOOST_TEST((make(model.file, program, sizes).error().code == errc::invalid_argument));
  const auto made = make_reference_backend(model.file, program, options);
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  const std::vector<token_id> tokens{1};
  const std::vector<block_id> blocks{0};
  const std::vector<batch_span> spans{{0, 1, 0, blocks}};
  const std::vector<std::uint32_t> wanted{0};
  std::vector<float> logits(program.vocabulary);
  for (int i = 0; i < 2; ++i) {
    const auto done = (*made)->forward({tokens, spans, wanted}, logits);
    BOOST_REQUIRE(!done);
    BOOST_TEST((done.error().code == errc::unavailable));
  }
}

BOOST_AUTO_TEST_CASE(the_cpu_backend_on_several_ranks_is_near_itself_on_one_and_all_ranks_agree) {
  for (auto make : {maker(make_cpu_backend), maker(make_bf16_backend)})
    for (auto type : {tensor_type::f16, tensor_type::q4_1, tensor_type::q8_0}) {
      auto options = three_groups;
      options.type = type;
      const auto model = open(options);
      loaded whole{model.program, *make(model.file, model.program, sizes)};
      const auto wanted = compute(whole);
      for (unsigned ranks : {1u, 2u, 3u}) {
        const auto all = on_ranks(model, ranks, make);
        BOOST_TEST(difference(wanted, all.front()) < (ranks == 1 ? 1e-30 : 0.02));
        for (const auto& other : all)
          BOOST_TEST(same_bits(all.front(), other));
        BOOST_TEST(same_bits(all.front(), on_ranks(model, ranks, make).front()));
      }
    }
}

/// Counts what is gathered.
class counting_communicator final : public communicator {
public:
  counting_communicator(std::unique_ptr<communicator> inner, std::vector<std::size_t>& gathered)
      : inner_(std::move(inner)), gathered_(gathered) {}
  unsigned rank() const override { return inner_->rank(); }
  unsigned size() const override { return inner_->size(); }
  std::uint64_t epoch() const override { return inner_->epoch(); }
  unsigned shards() const override { return inner_->shards(); }
  expected<void> all_reduce(std::span<const float> partial, std::span<float> sum, deadline until) override {
    return inner_->all_reduce(partial, sum, until);
  }
  expected<void> all_gather(std::span<const std::byte> mine, std::span<std::byte> all, deadline until) override {
    gathered_.push_back(mine.size());
    return inner_->all_gather(mine, all, until);
  }
  expected<void> broadcast(std::span<std::byte> data, unsigned root, deadline until) override {
    return inner_->broadcast(data, root, until);
  }
  expected<void> all_to_all(std::span<const std::byte> to, std::span<std::byte> from, deadline until) override {
    return inner_->all_to_all(to, from, until);
  }
  expected<void> send(std::span<const std::byte> data, unsigned to, deadline until) override {
    return inner_->send(data, to, until);
  }
  expected<void> receive(std::span<std::byte> data, unsigned from, deadline until) override {
    return inner_->receive(data, from, until);
  }
  expected<void> barrier(deadline until) override { return inner_->barrier(until); }
  void abort() override { inner_->abort(); }
  bool is_broken() const override { return inner_->is_broken(); }

private:
  std::unique_ptr<communicator> inner_;
  std::vector<std::size_t>& gathered_;
};

BOOST_AUTO_TEST_CASE(logits_are_gathered_in_those_rows_alone_in_which_a_rank_wants_more_than_its_own) {
  const auto model = open(three_groups);
  const auto plan = plan_shards(model.program, *model.file, 2);
  BOOST_REQUIRE(plan);
  const std::size_t vocabulary = model.program.vocabulary, rows = 5;
  constexpr float untouched = 12345;
  for (auto make : {maker(make_reference_backend), maker(make_cpu_backend)}) {
    const shared_group_options group_options{.shards = make == make_reference_backend ? plan->shards_of_ranks()
                                                                                      : std::vector<unsigned>(2, 1)};
    const auto group = shared_group::create(group_options);
    BOOST_REQUIRE(group);
    std::vector<std::size_t> gathered[2];
    std::vector<std::vector<float>> logits[2];
    int failures[2] = {};
    std::vector<std::jthread> threads;
    for (unsigned r = 0; r < 2; ++r)
      threads.emplace_back([&, r] {
        auto options = sizes;
        options.group = std::make_shared<counting_communicator>(
          std::move(*join_shared_group(group->address(), group_options, r)), gathered[r]);
        loaded on{program_of_rank(model.program, *plan, r), nullptr};
        on.backend = std::move(*make(model.file, on.program, options));
        for (const auto& own : {std::vector<std::uint32_t>{}, {1, 4}, {0, 1, 2, 3, 4}}) {
          auto sequences = random_sequences(on.program, std::vector<std::uint32_t>{rows}, 9);
          const auto [tokens, spans, logit_rows] = lay_out(std::vector<piece>{{&sequences[0], rows, rows}});
          forward_batch batch{tokens, spans, logit_rows};
          batch.own_logits = own;
          logits[r].emplace_back(rows * vocabulary, untouched);
          failures[r] += !on.backend->forward(batch, logits[r].back());
        }
      });
    threads.clear();
    for (unsigned r = 0; r < 2; ++r) {
      BOOST_TEST(failures[r] == 0);
      const auto own = plan->vocabulary[r];
      const auto widest = std::max(plan->vocabulary[0].size(), plan->vocabulary[1].size()) * sizeof(float);
      BOOST_TEST(gathered[r] == (std::vector<std::size_t>{rows * widest, (rows - 2) * widest}),
                 boost::test_tools::per_element());
      for (std::size_t i = 0; i < rows * vocabulary; ++i) {
        const bool mine = own.contains(static_cast<std::uint32_t>(i % vocabulary));
        const auto row = i / vocabulary;
        const auto whole = logits[r][0][i];
        BOOST_TEST_REQUIRE(logits[r][1][i] == (mine || (row != 1 && row != 4) ? whole : untouched));
        BOOST_TEST_REQUIRE(logits[r][2][i] == (mine ? whole : untouched));
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
