// Groups of every kind: every call against its plain meaning.
#include <boost/test/unit_test.hpp>

#include <cstring>
#include <numeric>
#include <thread>

#include "tests/comm/groups.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(groups)

namespace {

using maker = ranks_of_group (*)(const std::vector<unsigned>& shards);
constexpr maker makers[] = {[](const std::vector<unsigned>& shards) { return shared_memory_ranks(shards, 512); },
                            [](const std::vector<unsigned>& shards) { return shared_memory_ranks(shards, 4096); },
                            [](const std::vector<unsigned>& shards) { return shared_memory_ranks(shards, 1 << 18); },
                            tcp_ranks};

} // namespace

BOOST_AUTO_TEST_CASE(every_call_does_what_it_says_for_any_number_of_ranks_and_bytes) {
  const std::vector<std::vector<unsigned>> divisions{{1}, {3}, {1, 1}, {2, 1}, {1, 2}, {1, 1, 1}, {3, 1, 2, 1, 1}};
  for (const auto make : makers)
    for (const auto& shards : divisions)
      on_threads(make(shards), [&](communicator& on) {
        for (std::uint64_t seed = 0; seed < 30; ++seed) // Shared counts wrap around on the way.
          one_of_each(on, std::accumulate(shards.begin(), shards.end(), 0u), seed);
      });
  BOOST_TEST(take_wrong() == 0);
}

BOOST_AUTO_TEST_CASE(a_sum_has_the_same_bits_however_its_shards_are_divided) {
  for (const auto make : makers)
    for (const auto& shards : std::vector<std::vector<unsigned>>{{6}, {3, 3}, {5, 1}, {1, 4, 1}, {1, 1, 1, 1, 1, 1}})
      for (std::size_t count : {1000u, 5000u})
        on_threads(make(shards), [&](communicator& on) {
          const auto first = std::accumulate(shards.begin(), shards.begin() + on.rank(), 0u);
          std::vector<float> partial, sum(count);
          for (unsigned s = first; s < first + on.shards(); ++s) {
            const auto part = partial_of(s, count, 3);
            partial.insert(partial.end(), part.begin(), part.end());
          }
          check(on.all_reduce(partial, sum, in(20s)).has_value());
          check(same_bits(sum, sum_in_order(6, count, 3)));
        });
  BOOST_TEST(take_wrong() == 0);
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_come_is_an_error_at_the_deadline_and_the_group_is_broken) {
  for (const auto make : makers) {
    const auto ranks = make({1, 1});
    const auto begin = std::chrono::steady_clock::now();
    const auto late = ranks[0]->barrier(in(50ms));
    BOOST_REQUIRE(!late);
    BOOST_TEST((late.error().code == errc::unavailable));
    BOOST_TEST(late.error().message == "Rank 1 did not come to where rank 0 waits (epoch 7).");
    BOOST_TEST((std::chrono::steady_clock::now() - begin >= 50ms));
    std::vector<float> data(10);
    for (const auto& rank : ranks) {
      BOOST_TEST(!rank->all_reduce(data, data, in(20s)));
      BOOST_TEST(!rank->barrier(in(20s)));
    }
  }
}

BOOST_AUTO_TEST_CASE(abort_by_any_rank_ends_calls_that_wait_and_those_that_come) {
  for (const auto make : makers)
    for (unsigned by : {0u, 1u})
      for (int what = 0; what < 3; ++what) {
        const auto ranks = make({1, 1});
        std::atomic<bool> waits{false};
        std::jthread thread([&] {
          std::vector<std::byte> data(100000000 / (what == 2 ? 1 : 1000)); // More than a socket keeps.
          waits = true;
          const auto ended = what == 0   ? ranks[0]->barrier(in(60s))
                             : what == 1 ? ranks[0]->receive(data, 1, in(60s))
                                         : ranks[0]->send(data, 1, in(60s));
          check(!ended && ended.error().code == errc::unavailable);
        });
        while (!waits)
          std::this_thread::yield();
        std::this_thread::sleep_for(5ms); // It sleeps in the kernel by then, nearly always.
        ranks[by]->abort();
        thread.join();
        BOOST_TEST((!ranks[1]->barrier(in(60s)) || !ranks[1]->barrier(in(60s))));
      }
  BOOST_TEST(take_wrong() == 0);
}

BOOST_AUTO_TEST_CASE(calls_that_do_not_fit_each_other_break_the_group) {
  for (const auto make : makers) {
    const auto ranks = make({1, 1});
    std::vector<std::byte> ten(10), eleven(11);
    BOOST_TEST(ranks[0]->send(ten, 1, in(20s)).has_value());
    const auto received = ranks[1]->receive(eleven, 0, in(20s));
    BOOST_REQUIRE(!received);
    BOOST_TEST((received.error().code == errc::internal));
    BOOST_TEST(!ranks[0]->barrier(in(20s)));
  }
}

BOOST_AUTO_TEST_SUITE_END()
