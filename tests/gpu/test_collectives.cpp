// Groups of the shim's ranks: what they compute, what makes them hang, and what the host may not do with them.
#include "tests/gpu/shim_ranks.hpp"
#include "tests/gpu/two_streams.hpp"

#include <random>

using namespace troupe;
using namespace troupe::gpu;
using namespace troupe::gpu::test;
using shim::rank_fault;
using shim::violation_kind;

BOOST_AUTO_TEST_SUITE(shim_collectives_suite)

namespace {

std::vector<float> part_of(std::size_t rank, std::size_t count) {
  std::mt19937 random(static_cast<std::uint32_t>(rank * 100 + count));
  std::normal_distribution<float> normal(0, 100);
  std::vector<float> part(count);
  for (auto& each : part)
    each = normal(random);
  return part;
}

std::vector<float> sum_in_order(std::size_t ranks, std::size_t count) {
  auto sum = part_of(0, count);
  for (std::size_t rank = 1; rank < ranks; ++rank) {
    const auto part = part_of(rank, count);
    for (std::size_t i = 0; i < count; ++i)
      sum[i] += part[i];
  }
  return sum;
}

/// Each rank's sum over all.
std::vector<std::vector<float>> sums_of(shim_ranks& ranks, std::size_t count, bool in_place) {
  std::vector<global<float>> sums;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    auto& own = ranks[rank];
    const auto part = own.upload(part_of(rank, count));
    sums.push_back(in_place ? global<float>{part.at} : own.space<float>(count));
    must(own.group->all_reduce(own.stream, part.at, sums.back().at, count));
    own.settle();
  }
  BOOST_REQUIRE(finish(ranks));
  std::vector<std::vector<float>> out;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    out.push_back(ranks[rank].download(sums[rank], count));
  return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_sum_over_ranks_is_the_same_on_all_of_them) {
  for (const unsigned count : {2u, 3u})
    for (const std::size_t numbers : {1u, 1000u, 150000u}) // The last goes in three pieces.
      for (const bool in_place : {false, true}) {
        auto ranks = ready_ranks(count, count + static_cast<unsigned>(numbers));
        const auto sums = sums_of(ranks, numbers, in_place);
        const auto wanted = sum_in_order(count, numbers);
        for (const auto& each : sums)
          BOOST_TEST((each == sums[0]));
        for (std::size_t i = 0; i < numbers; ++i)
          if (!(std::abs(sums[0][i] - wanted[i]) <= 1e-3f))
            BOOST_ERROR("number " << i << " is " << sums[0][i] << " and not " << wanted[i]);
      }
}

BOOST_AUTO_TEST_CASE(three_ranks_sums_are_added_in_an_order_that_is_not_the_ranks) {
  auto ranks = ready_ranks(3, 1);
  const auto got = sums_of(ranks, 3000, false)[0], wanted = sum_in_order(3, 3000);
  const auto differ = [&](std::size_t begin) { return !std::equal(&got[begin], &got[begin] + 1000, &wanted[begin]); };
  BOOST_TEST(differ(0));
  BOOST_TEST(differ(1000));
  BOOST_TEST(!differ(2000));
}

BOOST_AUTO_TEST_CASE(each_rank_gets_what_all_have) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed)
    for (const std::size_t numbers : {1u, 70000u}) {
      auto ranks = ready_ranks(3, seed * 10);
      std::vector<global<float>> all;
      for (std::size_t rank = 0; rank < 3; ++rank) {
        auto& own = ranks[rank];
        const auto mine = own.upload(part_of(rank, numbers));
        all.push_back(own.space<float>(numbers * 3));
        const auto place = all.back().at + rank * numbers * 4;
        if (seed % 2 == 0) // In its place.
          must(own.device.copy(own.stream, place, mine.at, numbers * 4));
        must(own.group->all_gather(own.stream, seed % 2 == 0 ? place : mine.at, all.back().at, numbers * 4));
        own.settle();
      }
      BOOST_REQUIRE(finish(ranks));
      std::vector<float> wanted;
      for (std::size_t rank = 0; rank < 3; ++rank) {
        const auto part = part_of(rank, numbers);
        wanted.insert(wanted.end(), part.begin(), part.end());
      }
      for (std::size_t rank = 0; rank < 3; ++rank)
        BOOST_TEST((ranks[rank].download(all[rank], wanted.size()) == wanted));
    }
}

BOOST_AUTO_TEST_CASE(ranks_send_to_each_other_when_calls_are_made_together) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    constexpr std::size_t numbers = 150000;
    auto ranks = ready_ranks(3, seed * 10);
    std::vector<global<float>> came;
    for (unsigned rank = 0; rank < 3; ++rank) {
      auto& own = ranks[rank];
      const auto mine = own.upload(part_of(rank, numbers));
      came.push_back(own.space<float>(numbers));
      must(own.group->begin_together());
      must(own.group->send(own.stream, mine.at, numbers * 4, (rank + 1) % 3));
      must(own.group->receive(own.stream, came.back().at, numbers * 4, (rank + 2) % 3));
      must(own.group->end_together());
      own.settle();
    }
    BOOST_REQUIRE(finish(ranks));
    for (unsigned rank = 0; rank < 3; ++rank)
      BOOST_TEST((ranks[rank].download(came[rank], numbers) == part_of((rank + 2) % 3, numbers)));
  }
}

BOOST_AUTO_TEST_CASE(rows_are_handed_on_in_the_order_in_which_they_were_sent) {
  auto ranks = ready_ranks(2, 5);
  const auto first = ranks[0].upload(part_of(1, 10)), second = ranks[0].upload(part_of(2, 10));
  const auto a = ranks[1].space<float>(10), b = ranks[1].space<float>(10);
  for (const auto& [from, to] : {std::pair(first, a), {second, b}}) {
    must(ranks[0].group->send(ranks[0].stream, from.at, 40, 1));
    must(ranks[1].group->receive(ranks[1].stream, to.at, 40, 0));
    ranks[0].settle();
    ranks[1].settle();
  }
  BOOST_REQUIRE(finish(ranks));
  BOOST_TEST((ranks[1].download(a, 10) == part_of(1, 10)));
  BOOST_TEST((ranks[1].download(b, 10) == part_of(2, 10)));
}

BOOST_AUTO_TEST_CASE(what_is_queued_while_a_call_is_in_progress_comes_too_early_for_some_seed) {
  const auto right = [](bool waits) {
    return count_seeds([=](std::uint32_t seed) {
      auto ranks = ready_ranks(2, seed * 10);
      std::vector<global<float>> sums, taken;
      for (auto& own : ranks) {
        sums.push_back(own.space<float>(8));
        taken.push_back(own.space<float>(8));
        must(own.device.fill(own.stream, sums.back().at, 0, 32));
        must(own.group->all_reduce(own.stream, own.upload(std::vector<float>(8, 1)).at, sums.back().at, 8));
        if (waits)
          own.settle();
        must(own.device.copy(own.stream, taken.back().at, sums.back().at, 32));
        own.settle();
      }
      BOOST_REQUIRE(finish(ranks));
      return ranks[0].download(taken[0], 8)[3] == 2.0f && ranks[1].download(taken[1], 8)[3] == 2.0f;
    });
  };
  BOOST_TEST(right(true) == seeds);
  BOOST_TEST(right(false) < seeds);
}

BOOST_AUTO_TEST_CASE(whoever_waits_for_a_stream_that_waits_for_another_rank_hangs) {
  auto ranks = ready_ranks(2, 1);
  auto& own = ranks[0];
  const auto at = own.upload(part_of(0, 8)).at;
  must(own.group->all_reduce(own.stream, at, at, 8));
  own.settle();
  BOOST_TEST(!own.device.synchronize(own.stream));
  BOOST_REQUIRE(own.device.lost_by());
  BOOST_TEST((own.device.lost_by()->kind() == violation_kind::hangs));
}

BOOST_AUTO_TEST_CASE(ranks_that_call_different_things_are_found) {
  const auto kind_of = [](auto other_call) {
    auto ranks = ready_ranks(2, 3);
    const auto at = ranks[0].upload(part_of(0, 64)).at, other = ranks[1].upload(part_of(1, 64)).at;
    must(ranks[0].group->all_reduce(ranks[0].stream, at, at, 16));
    must(other_call(ranks[1], other));
    ranks[0].settle();
    ranks[1].settle();
    must(ranks[0].device.record(ranks[0].event, ranks[0].stream));
    must(ranks[1].device.record(ranks[1].event, ranks[1].stream));
    BOOST_REQUIRE(comes_true([&] {
      static_cast<void>(ranks[0].device.is_done(ranks[0].event));
      static_cast<void>(ranks[1].device.is_done(ranks[1].event));
      return ranks[0].device.lost_by() && ranks[1].device.lost_by();
    }));
    return ranks[0].device.lost_by()->kind();
  };
  BOOST_TEST((kind_of([](shim_rank& r, address at) { return r.group->all_reduce(r.stream, at, at, 17); }) ==
              violation_kind::mismatch));
  BOOST_TEST((kind_of([](shim_rank& r, address at) { return r.group->all_gather(r.stream, at + 128, at, 64); }) ==
              violation_kind::mismatch));
}

BOOST_AUTO_TEST_CASE(after_an_abort_the_stream_goes_on_and_the_group_is_of_no_use) {
  for (const auto what : {rank_fault::hang, rank_fault::async_error, rank_fault::abort}) {
    auto ranks = ready_ranks(2, 7, {.what = what, .call = 2});
    const auto numbers = part_of(0, 8);
    for (auto& own : ranks) {
      const auto at = own.upload(numbers).at;
      for (int i = 0; i < 2; ++i) {
        must(own.group->all_reduce(own.stream, at, at, 8));
        own.settle();
      }
      must(own.device.record(own.event, own.stream));
    }
    const bool told = comes_true([&] {
      static_cast<void>(ranks[0].device.is_done(ranks[0].event));
      static_cast<void>(ranks[1].device.is_done(ranks[1].event));
      return what == rank_fault::hang || !ranks[1].group->state();
    });
    BOOST_TEST(told);
    BOOST_TEST((must(ranks[0].group->state()) == group_state::ready)); // It cannot know.
    for (auto& own : ranks) {
      must(own.group->abort());
      must(own.device.synchronize(own.stream));
      BOOST_TEST((own.group->state().error().code == errc::unavailable));
      BOOST_TEST((own.group->all_reduce(own.stream, 0, 0, 8).error().code == errc::unavailable));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_slow_rank_changes_no_bit) {
  for (const std::uint64_t call : {0u, 1u}) {
    auto ranks = ready_ranks(2, 9, {.what = rank_fault::slow, .call = call, .delay = std::chrono::milliseconds(30)});
    auto others = ready_ranks(2, 9);
    BOOST_TEST((sums_of(ranks, 500, true) == sums_of(others, 500, true)));
  }
}

BOOST_AUTO_TEST_CASE(a_group_is_not_made_before_its_last_rank_has_come) {
  for (const auto what : {rank_fault::hang, rank_fault::abort, rank_fault::async_error}) {
    auto ranks = joined_ranks(2, 1, {.what = what, .call = 0});
    for (int i = 0; i < 100; ++i) {
      BOOST_TEST((must(ranks[0].group->state()) == group_state::in_progress));
      const auto state = ranks[1].group->state();
      BOOST_TEST(state.has_value() == (what == rank_fault::hang));
    }
    BOOST_TEST((ranks[0].group->all_reduce(ranks[0].stream, 0, 0, 1).error().code == errc::invalid_argument));
    must(ranks[0].group->abort());
    BOOST_TEST(!ranks[0].group->state());
  }
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_refused) {
  auto ranks = ready_ranks(2, 1);
  auto& own = ranks[0];
  const auto at = own.upload(part_of(0, 64)).at;
  const auto code_of = [](const auto& result) { return result ? errc::none : result.error().code; };
  BOOST_TEST((code_of(own.group->send(own.stream, at, 4, 2)) == errc::invalid_argument));
  BOOST_TEST((code_of(own.group->receive(own.stream, at, 4, 0)) == errc::invalid_argument));
  BOOST_TEST((code_of(own.group->all_reduce(static_cast<stream_id>(9), at, at, 4)) == errc::invalid_argument));
  BOOST_TEST((code_of(own.group->end_together()) == errc::invalid_argument));
  BOOST_TEST((code_of(own.device.join_group(must(own.device.make_group_id()), 2, 2)) == errc::invalid_argument));
  BOOST_TEST((code_of(own.device.join_group(group_id{}, 0, 2)) == errc::unavailable));
  must(own.device.begin_capture(own.stream));
  BOOST_TEST((code_of(own.group->all_reduce(own.stream, at, at, 4)) == errc::invalid_argument));
  BOOST_TEST((code_of(own.device.end_capture(own.stream)) == errc::invalid_argument));
  BOOST_TEST(!own.group->all_gather(own.stream, at + 4, at, 64));
  BOOST_REQUIRE(own.device.lost_by());
  BOOST_TEST((own.device.lost_by()->kind() == violation_kind::overlap));
}

BOOST_AUTO_TEST_SUITE_END()
