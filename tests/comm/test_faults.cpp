// A rank that goes wrong at any call: the others are told within their deadlines, and what is only late changes no bit.
#include <boost/test/unit_test.hpp>

#include <cstring>
#include <thread>

#include "tests/comm/groups.hpp"
#include "tests/support/faulty_communicator.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(faults)

namespace {

using clock = std::chrono::steady_clock;

constexpr unsigned rank_count = 3;
constexpr std::size_t floats = 5000; // More than a slot has, and than every rank adds up alone.

/// What one rank has seen.
struct told {
  std::vector<std::byte> results;
  std::optional<error> why; ///< Of the first call that failed.
  std::uint64_t calls = 0;  ///< That ended well.
  clock::duration past_deadline{};
};

/// Every call once, until one fails: the sums are a small and a large one.
class caller {
public:
  caller(communicator& on, std::chrono::milliseconds limit) : on_(on), limit_(limit) {}

  static constexpr std::uint64_t calls = 8;

  told run() {
    auto data = partial_of(on_.rank(), floats, 5);
    auto bytes = std::as_writable_bytes(std::span(data));
    std::vector<float> all(floats * rank_count);
    const auto gathered = std::as_writable_bytes(std::span(all));
    const auto next = (on_.rank() + 1) % rank_count, before = (on_.rank() + 2) % rank_count;
    const auto some = std::span(data).first(300);
    step([&](auto until) { return on_.all_reduce(some, some, until); }, std::as_bytes(some));
    step([&](auto until) { return on_.all_reduce(data, data, until); }, bytes);
    step([&](auto until) { return on_.all_gather(bytes, gathered, until); }, gathered);
    step([&](auto until) { return on_.broadcast(bytes.first(999), 1, until); }, bytes);
    std::vector<std::byte> swapped(gathered.size());
    step([&](auto until) { return on_.all_to_all(gathered, swapped, until); }, swapped);
    // What is sent fits a slot, so that all may send first.
    step([&](auto until) { return on_.send(bytes.first(1000), next, until); }, {});
    step([&](auto until) { return on_.receive(bytes.first(1000), before, until); }, bytes);
    step([&](auto until) { return on_.barrier(until); }, {});
    return std::move(told_);
  }

private:
  template <class Call>
  void step(Call call, std::span<const std::byte> result) {
    if (told_.why)
      return;
    const auto until = clock::now() + limit_;
    if (const auto made = call(until); !made) {
      told_.why = made.error();
      told_.past_deadline = clock::now() - until;
      return;
    }
    ++told_.calls;
    told_.results.insert(told_.results.end(), result.begin(), result.end());
  }

  communicator& on_;
  const std::chrono::milliseconds limit_;
  told told_;
};

struct one_group {
  std::shared_ptr<comm_faults> faults = std::make_shared<comm_faults>();
  ranks_of_group ranks;
  std::vector<told> seen;

  one_group() : ranks(shared_memory_ranks({1, 1, 1})), seen(rank_count) {
    for (auto& rank : ranks)
      rank = with_faults(std::move(rank), faults);
  }
  void run(std::chrono::milliseconds limit) {
    on_threads(ranks, [&](communicator& on) { seen[on.rank()] = caller(on, limit).run(); });
  }
};

std::vector<told> without_faults() {
  one_group group;
  group.run(20s);
  return std::move(group.seen);
}

/// A group for each rank and each of its calls that may go wrong. They mostly wait, so all go at the same time.
std::vector<planned_fault> every_call(comm_fault what) {
  std::vector<planned_fault> out;
  for (unsigned rank = 0; rank < rank_count; ++rank)
    for (std::uint64_t call = 0; call < caller::calls; ++call)
      out.push_back({rank, call, what, 20ms, false});
  return out;
}

std::vector<one_group> run_all(const std::vector<planned_fault>& faults, std::chrono::milliseconds limit) {
  std::vector<one_group> groups(faults.size());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < faults.size(); ++i) {
    groups[i].faults->plan(faults[i]);
    threads.emplace_back([&, i] { groups[i].run(limit); });
  }
  threads.clear();
  return groups;
}

bool same(const told& a, const told& b) {
  return a.results == b.results && a.calls == b.calls && !a.why && !b.why;
}

/// On two busy cores, a thread that is due may wait for long.
constexpr auto patience = 5s;

} // namespace

BOOST_AUTO_TEST_CASE(a_wrapped_group_without_faults_is_the_group) {
  const auto seen = without_faults();
  for (const auto& one : seen) {
    BOOST_TEST(!one.why);
    BOOST_TEST(one.calls == caller::calls);
  }
  const auto ranks = shared_memory_ranks({1, 1, 1});
  on_threads(ranks, [&](communicator& on) { check(same(caller(on, 20s).run(), seen[on.rank()])); });
  BOOST_TEST(take_wrong() == 0);
}

BOOST_AUTO_TEST_CASE(a_rank_that_hangs_fails_or_is_lost_at_any_call_costs_the_others_their_deadline_and_no_more) {
  for (const auto what : {comm_fault::hang, comm_fault::fail, comm_fault::lose}) {
    const auto faults = every_call(what);
    const auto groups = run_all(faults, 200ms);
    for (std::size_t i = 0; i < faults.size(); ++i)
      for (unsigned rank = 0; rank < rank_count; ++rank)
        BOOST_TEST_CONTEXT("fault " << int(what) << " of rank " << faults[i].rank << " at " << faults[i].call
                                    << ", seen by " << rank) {
          const auto& seen = groups[i].seen[rank];
          BOOST_REQUIRE(seen.why);
          BOOST_TEST((seen.why->code == errc::unavailable));
          BOOST_TEST((seen.past_deadline < patience));
        }
  }
}

BOOST_AUTO_TEST_CASE(an_abort_at_any_call_is_known_to_all_long_before_their_deadlines) {
  const auto faults = every_call(comm_fault::abort);
  const auto groups = run_all(faults, 60s);
  for (std::size_t i = 0; i < faults.size(); ++i)
    for (unsigned rank = 0; rank < rank_count; ++rank)
      BOOST_TEST_CONTEXT("rank " << faults[i].rank << " at " << faults[i].call << ", seen by " << rank) {
        const auto& seen = groups[i].seen[rank];
        BOOST_REQUIRE(seen.why);
        BOOST_TEST((seen.past_deadline < patience - 60s));
      }
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_late_within_the_deadline_changes_no_bit) {
  const auto wanted = without_faults();
  const auto faults = every_call(comm_fault::delay);
  const auto groups = run_all(faults, 20s);
  for (std::size_t i = 0; i < faults.size(); ++i)
    for (unsigned rank = 0; rank < rank_count; ++rank)
      BOOST_TEST_CONTEXT("rank " << faults[i].rank << " at " << faults[i].call << ", seen by " << rank)
  BOOST_TEST(same(groups[i].seen[rank], wanted[rank]));
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_later_than_the_deadline_is_an_error_for_all) {
  one_group group;
  group.faults->plan({1, 3, comm_fault::delay, 400ms, false});
  group.run(100ms);
  for (const auto& seen : group.seen)
    BOOST_TEST(seen.why.has_value());
}

BOOST_AUTO_TEST_CASE(after_an_abort_all_calls_of_all_ranks_fail) {
  for (unsigned by = 0; by < rank_count; ++by) {
    const auto faults = std::make_shared<comm_faults>();
    auto ranks = shared_memory_ranks({1, 1, 1});
    for (auto& rank : ranks)
      rank = with_faults(std::move(rank), faults);
    for (const auto& rank : ranks)
      BOOST_TEST(!rank->is_broken());
    ranks[by]->abort();
    for (const auto& rank : ranks)
      BOOST_TEST(rank->is_broken());
    const auto begin = clock::now();
    std::vector<float> sum(10);
    std::vector<std::byte> nine(9), three(3);
    for (const auto& rank : ranks) {
      const auto next = (rank->rank() + 1) % rank_count;
      BOOST_TEST(!rank->all_reduce(sum, sum, in(60s)));
      BOOST_TEST(!rank->all_gather(three, nine, in(60s)));
      BOOST_TEST(!rank->broadcast(nine, 0, in(60s)));
      BOOST_TEST(!rank->all_to_all(nine, nine, in(60s)));
      BOOST_TEST(!rank->send(nine, next, in(60s)));
      BOOST_TEST(!rank->receive(nine, next, in(60s)));
      BOOST_TEST(!rank->barrier(in(60s)));
    }
    BOOST_TEST((clock::now() - begin < patience));
  }
}

BOOST_AUTO_TEST_CASE(
  faults_from_now_on_come_at_every_call_until_they_are_cleared_and_in_the_next_epoch_nothing_is_aborted) {
  const auto faults = std::make_shared<comm_faults>();
  const auto make = [&](std::uint64_t epoch) {
    auto options = options_of({1});
    options.epoch = epoch;
    const auto group = shared_group::create(options);
    BOOST_REQUIRE(group);
    return with_faults(join(*group, options, 0), faults);
  };
  const auto first = make(1);
  BOOST_TEST(first->barrier(in(20s)).has_value());
  faults->from_now_on(0, comm_fault::delay, 30ms);
  const auto begin = clock::now();
  BOOST_TEST(first->barrier(in(20s)).has_value());
  BOOST_TEST(first->barrier(in(20s)).has_value());
  BOOST_TEST((clock::now() - begin >= 60ms));
  faults->clear();
  faults->from_now_on(0, comm_fault::abort);
  BOOST_TEST(!first->barrier(in(20s)));
  BOOST_TEST(faults->calls(0) == 4u);
  faults->clear();
  BOOST_TEST(!first->barrier(in(20s)));
  const auto second = make(2);
  BOOST_TEST(second->barrier(in(20s)).has_value());
  BOOST_TEST(faults->calls(0) == 5u); // That of a broken group is none.
}

BOOST_AUTO_TEST_SUITE_END()
