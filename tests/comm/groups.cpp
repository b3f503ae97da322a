#include "tests/comm/groups.hpp"

#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include <boost/test/unit_test.hpp>

namespace troupe::test {

using namespace std::chrono_literals;

communicator::deadline in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

shared_group_options options_of(std::vector<unsigned> shards, std::size_t slot_bytes) {
  return {.shards = std::move(shards), .epoch = test_epoch, .slot_bytes = slot_bytes};
}

std::unique_ptr<communicator> join(const shared_group& group, const shared_group_options& options, unsigned rank) {
  auto made = join_shared_group(group.address(), options, rank);
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  return std::move(*made);
}

ranks_of_group shared_memory_ranks(const std::vector<unsigned>& shards, std::size_t slot_bytes) {
  const auto options = options_of(shards, slot_bytes);
  const auto group = shared_group::create(options);
  BOOST_REQUIRE_MESSAGE(group, group.error().message);
  ranks_of_group out;
  for (unsigned r = 0; r < shards.size(); ++r)
    out.push_back(join(*group, options, r));
  return out;
}

ranks_of_group tcp_ranks(const std::vector<unsigned>& shards) {
  const tcp_group_options options{.shards = shards, .epoch = test_epoch, .secret = 5};
  std::vector<tcp_listener> listeners;
  std::vector<std::string> addresses;
  for (unsigned r = 0; r < shards.size(); ++r) {
    auto made = tcp_listener::open(r % 2 == 0 ? "127.0.0.1" : "127.0.0.2");
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    addresses.push_back(made->address());
    listeners.push_back(std::move(*made));
  }
  ranks_of_group out(shards.size());
  {
    std::vector<std::jthread> threads;
    for (unsigned r = 0; r < shards.size(); ++r)
      threads.emplace_back([&, r] {
        auto made = join_tcp_group(listeners[r], addresses, options, r, in(20s));
        if (made)
          out[r] = std::move(*made);
      });
  }
  for (const auto& rank : out)
    BOOST_REQUIRE(rank);
  return out;
}

void on_threads(const ranks_of_group& ranks, const std::function<void(communicator&)>& body) {
  std::vector<std::jthread> threads;
  for (auto& rank : ranks)
    threads.emplace_back([&body, &rank] { body(*rank); });
}

namespace {

std::atomic<int> wrong{0};

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

} // namespace

void check(bool right) {
  wrong += !right;
}

int take_wrong() {
  return wrong.exchange(0);
}

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
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

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

} // namespace troupe::test
