// Groups over shared memory, of threads and of processes: every call against its plain meaning, and every way to fail.
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "comm/shared_memory.hpp"

using namespace troupe;
using namespace std::chrono_literals;

namespace {

communicator::deadline in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

shared_group_options options_of(std::vector<unsigned> shards, std::size_t slot_bytes = 4096) {
  return {.shards = std::move(shards), .epoch = 7, .slot_bytes = slot_bytes};
}

std::unique_ptr<communicator> join(const shared_group& group, const shared_group_options& options, unsigned rank) {
  auto made = join_shared_group(group.address(), options, rank);
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  return std::move(*made);
}

/// Calls `body` with each rank of a new group, on threads of their own.
void on_threads(const shared_group_options& options, const std::function<void(communicator&)>& body) {
  const auto group = shared_group::create(options);
  BOOST_REQUIRE_MESSAGE(group, group.error().message);
  std::vector<std::unique_ptr<communicator>> ranks;
  for (unsigned r = 0; r < options.shards.size(); ++r)
    ranks.push_back(join(*group, options, r));
  std::vector<std::jthread> threads;
  for (auto& rank : ranks)
    threads.emplace_back([&body, &rank] { body(*rank); });
}

/// The partial result of a logical shard, the same however shards are divided.
std::vector<float> partial_of(unsigned shard, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed * 1000 + shard);
  std::normal_distribution<float> normal(0, 100);
  std::vector<float> out(count);
  for (auto& x : out)
    x = normal(random);
  return out;
}

std::vector<float> sum_in_order(unsigned shards, std::size_t count, std::uint64_t seed) {
  auto out = partial_of(0, count, seed);
  for (unsigned s = 1; s < shards; ++s) {
    const auto part = partial_of(s, count, seed);
    for (std::size_t i = 0; i < count; ++i)
      out[i] += part[i];
  }
  return out;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::vector<std::byte> bytes_of(unsigned rank, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed * 77 + rank);
  std::vector<std::byte> out(count);
  for (auto& b : out)
    b = static_cast<std::byte>(random());
  return out;
}

std::vector<std::byte> joined(unsigned ranks, std::size_t count, std::uint64_t seed) {
  std::vector<std::byte> out;
  for (unsigned r = 0; r < ranks; ++r) {
    const auto part = bytes_of(r, count, seed);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

/// BOOST_TEST is for one thread.
std::atomic<int> wrong{0};
void check(bool right) {
  wrong += !right;
}

/// One of every call, of a size that `seed` picks: from nothing to several slots.
void one_of_each(communicator& on, unsigned all_shards, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto until = in(20s);
  const std::size_t count = random() % 3 == 0 ? random() % 20000 : random() % 300;
  unsigned first_shard = 0; // Shards are divided as `options_of` says in each test: the first ranks have more.
  std::vector<unsigned> shards(on.size());
  std::vector<std::byte> own(sizeof(unsigned)), all(own.size() * on.size());
  const unsigned mine = on.shards();
  std::memcpy(own.data(), &mine, sizeof mine);
  check(on.all_gather(own, all, until).has_value());
  std::memcpy(shards.data(), all.data(), all.size());
  first_shard = std::accumulate(shards.begin(), shards.begin() + on.rank(), 0u);
  check(std::accumulate(shards.begin(), shards.end(), 0u) == all_shards);

  std::vector<float> partial;
  for (unsigned s = 0; s < mine; ++s) {
    const auto part = partial_of(first_shard + s, count, seed);
    partial.insert(partial.end(), part.begin(), part.end());
  }
  std::vector<float> sum(count);
  check(on.all_reduce(partial, mine == 1 ? std::span(partial) : std::span(sum), until).has_value());
  check(same_bits(mine == 1 ? partial : sum, sum_in_order(all_shards, count, seed)));

  const auto data = bytes_of(on.rank(), count, seed);
  std::vector<std::byte> gathered(count * on.size());
  check(on.all_gather(data, gathered, until).has_value());
  check(gathered == joined(on.size(), count, seed));

  const unsigned root = static_cast<unsigned>(seed % on.size());
  auto cast = data;
  check(on.broadcast(cast, root, until).has_value());
  check(cast == bytes_of(root, count, seed));

  const auto to = bytes_of(on.rank(), count * on.size(), seed + 1);
  std::vector<std::byte> from(to.size()), wanted;
  check(on.all_to_all(to, from, until).has_value());
  for (unsigned r = 0; r < on.size(); ++r) {
    const auto theirs = bytes_of(r, count * on.size(), seed + 1);
    wanted.insert(wanted.end(), theirs.begin() + static_cast<std::ptrdiff_t>(count * on.rank()),
                  theirs.begin() + static_cast<std::ptrdiff_t>(count * (on.rank() + 1)));
  }
  check(from == wanted);

  // A ring: the even ranks send first, or long messages would wait for each other.
  if (on.size() > 1) {
    const unsigned next = (on.rank() + 1) % on.size(), before = (on.rank() + on.size() - 1) % on.size();
    std::vector<std::byte> came(count);
    const auto send = [&] { check(on.send(data, next, until).has_value()); };
    if (on.rank() % 2 == 0 && on.rank() + 1 != on.size())
      send();
    check(on.receive(came, before, until).has_value());
    if (on.rank() % 2 != 0 || on.rank() + 1 == on.size())
      send();
    check(came == bytes_of(before, count, seed));
  }
  check(on.barrier(until).has_value());
}

} // namespace

BOOST_AUTO_TEST_SUITE(shared_memory_suite)

BOOST_AUTO_TEST_CASE(every_call_does_what_it_says_for_any_number_of_ranks_and_bytes) {
  const std::vector<std::vector<unsigned>> groups{{1}, {3}, {1, 1}, {2, 1}, {1, 2}, {1, 1, 1}, {3, 1, 2, 1, 1}};
  for (const auto& shards : groups)
    for (std::size_t slot_bytes : {512u, 4096u, 1u << 18})
      on_threads(options_of(shards, slot_bytes), [&](communicator& on) {
        for (std::uint64_t seed = 0; seed < 40; ++seed) // Counts wrap around on the way.
          one_of_each(on, std::accumulate(shards.begin(), shards.end(), 0u), seed);
      });
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(a_sum_has_the_same_bits_however_its_shards_are_divided) {
  for (const auto& shards : std::vector<std::vector<unsigned>>{{6}, {3, 3}, {5, 1}, {1, 4, 1}, {1, 1, 1, 1, 1, 1}})
    on_threads(options_of(shards), [&](communicator& on) {
      const auto first = std::accumulate(shards.begin(), shards.begin() + on.rank(), 0u);
      std::vector<float> partial, sum(1000);
      for (unsigned s = first; s < first + on.shards(); ++s) {
        const auto part = partial_of(s, 1000, 3);
        partial.insert(partial.end(), part.begin(), part.end());
      }
      check(on.all_reduce(partial, sum, in(20s)).has_value());
      check(same_bits(sum, sum_in_order(6, 1000, 3)));
    });
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(processes_join_by_an_address) {
  const auto options = options_of({1, 1, 1});
  const auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  std::vector<pid_t> children;
  for (unsigned rank = 0; rank < 3; ++rank)
    if (const auto child = fork(); child == 0) {
      auto made = join_shared_group(group->address(), options, rank);
      for (std::uint64_t seed = 0; made && seed < 60; ++seed)
        one_of_each(**made, 3, seed);
      _exit(made && wrong == 0 ? 0 : 1);
    } else {
      children.push_back(child);
    }
  for (const auto child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_come_is_an_error_at_the_deadline_and_the_group_is_broken) {
  const auto options = options_of({1, 1});
  const auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  auto one = join(*group, options, 0), other = join(*group, options, 1);
  const auto begin = std::chrono::steady_clock::now();
  const auto late = one->barrier(in(50ms));
  BOOST_REQUIRE(!late);
  BOOST_TEST((late.error().code == errc::unavailable));
  BOOST_TEST(late.error().message == "Rank 1 did not come to where rank 0 waits (epoch 7).");
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 50ms));
  std::vector<float> data(10);
  for (auto* rank : {one.get(), other.get()}) {
    BOOST_TEST(!rank->all_reduce(data, data, in(20s)));
    BOOST_TEST(!rank->barrier(in(20s)));
  }
}

BOOST_AUTO_TEST_CASE(abort_ends_calls_that_wait_and_those_that_come) {
  for (bool by_group : {false, true})
    for (int what = 0; what < 3; ++what) {
      const auto options = options_of({1, 1});
      auto group = shared_group::create(options);
      BOOST_REQUIRE(group);
      auto one = join(*group, options, 0), other = join(*group, options, 1);
      std::atomic<bool> waits{false};
      std::jthread thread([&] {
        std::vector<std::byte> data(100000);
        waits = true;
        const auto ended = what == 0   ? one->barrier(in(60s))
                           : what == 1 ? one->receive(data, 1, in(60s))
                                       : one->send(data, 1, in(60s));
        check(!ended && ended.error().message == "The group of epoch 7 was aborted.");
      });
      while (!waits)
        std::this_thread::yield();
      std::this_thread::sleep_for(5ms); // It sleeps in the kernel by then, nearly always.
      by_group ? group->abort() : other->abort();
      thread.join();
      BOOST_TEST(!other->barrier(in(60s)));
    }
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(a_killed_rank_costs_the_others_their_deadline_and_leaves_nothing) {
  const auto files = [] {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator("/dev/shm"))
      ++count;
    return count;
  };
  const auto before = files();
  {
    const auto options = options_of({1, 1});
    const auto group = shared_group::create(options);
    BOOST_REQUIRE(group);
    auto mine = join(*group, options, 0);
    const auto child = fork();
    if (child == 0) {
      auto other = join_shared_group(group->address(), options, 1);
      std::vector<float> data(3000);
      for (;;)
        if (!other || !(*other)->all_reduce(data, data, in(60s)))
          _exit(1);
    }
    std::vector<float> data(3000);
    for (int i = 0; i < 200; ++i)
      BOOST_TEST_REQUIRE(mine->all_reduce(data, data, in(20s)).has_value());
    BOOST_TEST(files() == before);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (mine->all_reduce(data, data, in(100ms))) // What it had still written may do for one more.
      ;
  }
  BOOST_TEST(files() == before);
}

BOOST_AUTO_TEST_CASE(another_epoch_other_sizes_and_no_group_are_refused) {
  const auto options = options_of({1, 1});
  std::string address;
  {
    const auto group = shared_group::create(options);
    BOOST_REQUIRE(group);
    address = group->address();
    auto other = options;
    other.epoch = 8;
    BOOST_TEST((join_shared_group(address, other, 0).error().code == errc::version_mismatch));
    other = options;
    other.shards.push_back(1);
    BOOST_TEST((join_shared_group(address, other, 0).error().code == errc::malformed));
    BOOST_TEST((join_shared_group(address, options, 2).error().code == errc::invalid_argument));
  }
  BOOST_TEST((join_shared_group(address, options, 0).error().code == errc::unavailable));
  for (const auto& wrong_options :
       {options_of({}), options_of({1, 0}), options_of({1, 1}, 100), options_of({1, 1}, 64)})
    BOOST_TEST((shared_group::create(wrong_options).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(calls_that_do_not_fit_each_other_break_the_group) {
  const auto options = options_of({1, 1});
  const auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  auto one = join(*group, options, 0), other = join(*group, options, 1);
  std::vector<std::byte> ten(10), eleven(11);
  BOOST_TEST(one->send(ten, 1, in(20s)).has_value());
  const auto received = other->receive(eleven, 0, in(20s));
  BOOST_REQUIRE(!received);
  BOOST_TEST((received.error().code == errc::internal));
  BOOST_TEST(!one->barrier(in(20s)));
}

BOOST_AUTO_TEST_SUITE_END()
