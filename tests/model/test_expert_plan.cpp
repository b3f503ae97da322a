// Experts on ranks: the plan, and a small layer of experts on two ranks, which gives the same bits as on one.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "comm/shared_memory.hpp"
#include "model/expert_plan.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(expert_plans)

namespace {

constexpr std::uint32_t experts = 4, width = 24, inner = 40;
using row = std::vector<float>;

row random_row(std::mt19937& random, std::size_t size) {
  std::normal_distribution<float> normal(0, 1);
  row out(size);
  for (auto& x : out)
    x = normal(random);
  return out;
}

/// One expert: down(relu(up(x))).
struct expert_weights {
  std::vector<row> up, down;
};

struct expert_layer {
  std::vector<row> router;
  std::vector<expert_weights> weights;
};

expert_layer random_layer() {
  std::mt19937 random(5);
  expert_layer out;
  for (std::uint32_t e = 0; e < experts; ++e) {
    out.router.push_back(random_row(random, width));
    auto& one = out.weights.emplace_back();
    for (std::uint32_t i = 0; i < inner; ++i)
      one.up.push_back(random_row(random, width));
    for (std::uint32_t i = 0; i < width; ++i)
      one.down.push_back(random_row(random, inner));
  }
  return out;
}

float product(std::span<const float> a, std::span<const float> b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

/// The likeliest expert and its share, by a softmax of the router's products.
struct choice {
  std::uint32_t expert;
  float share;
};
choice route(const expert_layer& layer, std::span<const float> x) {
  float score[experts], sum = 0;
  for (std::uint32_t e = 0; e < experts; ++e)
    score[e] = product(layer.router[e], x);
  const auto best = std::ranges::max_element(score);
  for (const float one : score)
    sum += std::exp(one - *best);
  return {static_cast<std::uint32_t>(best - score), 1 / sum};
}

row compute(const expert_weights& weights, std::span<const float> x) {
  row hidden, out;
  for (const auto& column : weights.up)
    hidden.push_back(std::max(0.0f, product(column, x)));
  for (const auto& column : weights.down)
    out.push_back(product(column, hidden));
  return out;
}

/// The whole layer on one rank.
std::vector<row> compute_all(const expert_layer& layer, const std::vector<row>& rows) {
  std::vector<row> out;
  for (const auto& x : rows) {
    const auto chosen = route(layer, x);
    out.push_back(compute(layer.weights[chosen.expert], x));
    for (auto& y : out.back())
      y *= chosen.share;
  }
  return out;
}

std::span<const std::byte> bytes_of(const std::vector<float>& all) {
  return std::as_bytes(std::span(all));
}
std::span<std::byte> room_in(std::vector<float>& all) {
  return std::as_writable_bytes(std::span(all));
}

/// The largest number of rows that any rank has for another.
std::uint32_t agree_on_capacity(communicator& on, const std::vector<std::uint32_t>& mine,
                                communicator::deadline until) {
  std::vector<std::uint32_t> all(mine.size() * on.size());
  const auto gathered = on.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), until);
  return gathered ? *std::ranges::max_element(all) : 0;
}

/// What one rank does: of the layer's weights it uses those of its own experts. A row travels with its expert's index.
std::vector<row> compute_on_rank(communicator& on, const expert_plan& plan, const expert_layer& layer,
                                 const std::vector<row>& rows) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<std::uint32_t> chosen;
  std::vector<float> shares;
  for (const auto& x : rows) {
    const auto routed = route(layer, x);
    chosen.push_back(routed.expert);
    shares.push_back(routed.share);
  }
  const auto capacity = agree_on_capacity(on, rows_for_ranks(plan, chosen), until);
  const auto exchange = plan_exchange(plan, chosen, capacity);
  constexpr auto stride = width + 1;
  std::vector<float> sent(exchange.rows.size() * stride, -1), came(sent.size());
  for (std::size_t place = 0; place < exchange.rows.size(); ++place)
    if (const auto from = exchange.rows[place]; from != row_exchange::no_row) {
      sent[place * stride] = static_cast<float>(chosen[from]);
      std::ranges::copy(rows[from], &sent[place * stride + 1]);
    }
  if (!on.all_to_all(bytes_of(sent), room_in(came), until))
    return {};
  std::vector<float> results(exchange.rows.size() * width), returned(results.size());
  for (std::size_t place = 0; place < exchange.rows.size(); ++place)
    if (const float* there = &came[place * stride]; *there >= 0) {
      const auto expert = static_cast<std::uint32_t>(*there);
      if (!plan.experts[on.rank()].contains(expert))
        return {};
      std::ranges::copy(compute(layer.weights[expert], {there + 1, width}), &results[place * width]);
    }
  if (!on.all_to_all(bytes_of(results), room_in(returned), until))
    return {};
  std::vector<row> out(rows.size());
  for (std::size_t place = 0; place < exchange.rows.size(); ++place)
    if (const auto to = exchange.rows[place]; to != row_exchange::no_row) {
      const auto* begin = &returned[place * width];
      out[to].assign(begin, begin + width);
      for (auto& y : out[to])
        y *= shares[to];
    }
  return out;
}

bool same_bits(const std::vector<row>& a, const std::vector<row>& b) {
  return std::ranges::equal(a, b, [](const row& x, const row& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

/// rows: of each rank.
void check_layer(const expert_layer& layer, const std::vector<std::vector<row>>& rows) {
  const auto ranks = static_cast<unsigned>(rows.size());
  const auto plan = plan_experts(experts, ranks);
  BOOST_REQUIRE(plan);
  const shared_group_options options{.shards = std::vector<unsigned>(ranks, 1), .slot_bytes = 1024};
  const auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  std::vector<std::unique_ptr<communicator>> members;
  for (unsigned rank = 0; rank < ranks; ++rank) {
    auto joined = join_shared_group(group->address(), options, rank);
    BOOST_REQUIRE(joined);
    members.push_back(std::move(*joined));
  }
  std::vector<std::vector<row>> results(ranks);
  {
    std::vector<std::jthread> threads;
    for (unsigned rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&, rank] { results[rank] = compute_on_rank(*members[rank], *plan, layer, rows[rank]); });
  }
  for (unsigned rank = 0; rank < ranks; ++rank)
    BOOST_TEST(same_bits(results[rank], compute_all(layer, rows[rank])));
}

/// Rows that the router gives to experts below `end`.
std::vector<row> rows_for(const expert_layer& layer, std::size_t count, std::uint32_t end, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<row> out;
  while (out.size() < count)
    if (auto x = random_row(random, width); route(layer, x).expert < end)
      out.push_back(std::move(x));
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_expert_is_on_one_rank_and_ranks_differ_by_one) {
  for (std::uint32_t count = 1; count < 20; ++count)
    for (unsigned ranks = 1; ranks <= count; ++ranks) {
      const auto plan = plan_experts(count, ranks);
      BOOST_REQUIRE(plan);
      BOOST_REQUIRE_EQUAL(plan->ranks(), ranks);
      std::vector<std::uint32_t> had(ranks);
      for (std::uint32_t e = 0; e < count; ++e) {
        BOOST_REQUIRE(plan->experts[plan->rank_of(e)].contains(e));
        ++had[plan->rank_of(e)];
      }
      for (unsigned rank = 0; rank < ranks; ++rank)
        BOOST_REQUIRE_EQUAL(had[rank], plan->experts[rank].size());
      BOOST_REQUIRE_LE(*std::ranges::max_element(had) - *std::ranges::min_element(had), 1u);
    }
}

BOOST_AUTO_TEST_CASE(no_ranks_and_more_ranks_than_experts_are_refused) {
  for (const unsigned ranks : {0u, 5u}) {
    const auto plan = plan_experts(4, ranks);
    BOOST_REQUIRE(!plan);
    BOOST_TEST((plan.error().code == errc::invalid_argument));
  }
  BOOST_TEST(plan_experts(4, 5).error().message == "4 experts can be on 4 ranks at most, not on 5.");
}

BOOST_AUTO_TEST_CASE(each_row_has_one_place_among_those_of_its_experts_rank) {
  const auto plan = *plan_experts(4, 2);
  const std::vector<std::uint32_t> chosen{3, 0, 2, 2, 1};
  BOOST_TEST(rows_for_ranks(plan, chosen) == (std::vector<std::uint32_t>{2, 3}), boost::test_tools::per_element());
  constexpr auto none = row_exchange::no_row;
  BOOST_TEST(plan_exchange(plan, chosen, 4).rows == (std::vector<std::uint32_t>{1, 4, none, none, 0, 2, 3, none}),
             boost::test_tools::per_element());
  BOOST_TEST(plan_exchange(plan, {}, 0).rows.empty());
}

BOOST_AUTO_TEST_CASE(a_layer_of_experts_has_the_same_bits_on_several_ranks_as_on_one) {
  const auto layer = random_layer();
  for (unsigned seed = 0; seed < 5; ++seed)
    for (const unsigned ranks : {1u, 2u, 3u, 4u}) {
      std::vector<std::vector<row>> rows;
      for (unsigned rank = 0; rank < ranks; ++rank)
        rows.push_back(rows_for(layer, (seed * 7 + rank * 5) % 30, experts, seed * 10 + rank));
      check_layer(layer, rows);
    }
}

BOOST_AUTO_TEST_CASE(a_rank_without_rows_one_whose_experts_nobody_chose_and_no_rows_at_all_are_no_exception) {
  const auto layer = random_layer();
  check_layer(layer, {rows_for(layer, 33, experts, 1), {}});
  check_layer(layer, {rows_for(layer, 33, 1, 2), rows_for(layer, 20, 1, 3)}); // All go to expert 0.
  check_layer(layer, {{}, rows_for(layer, 20, 2, 4)});                        // Nobody computes where the rows are.
  check_layer(layer, {{}, {}});
}

BOOST_AUTO_TEST_SUITE_END()
