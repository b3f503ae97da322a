// What the tests of groups share.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/shared_memory.hpp"
#include "comm/tcp.hpp"

namespace troupe::test {

communicator::deadline in(std::chrono::milliseconds time);

constexpr std::uint64_t test_epoch = 7;

shared_group_options options_of(std::vector<unsigned> shards, std::size_t slot_bytes = 4096);

/// Fails the test where it cannot.
std::unique_ptr<communicator> join(const shared_group& group, const shared_group_options& options, unsigned rank);

/// All ranks of a group; over TCP they join on threads of their own.
using ranks_of_group = std::vector<std::unique_ptr<communicator>>;
ranks_of_group shared_memory_ranks(const std::vector<unsigned>& shards, std::size_t slot_bytes = 4096);
ranks_of_group tcp_ranks(const std::vector<unsigned>& shards);

/// Calls `body` with each rank, on a thread of its own.
void on_threads(const ranks_of_group& ranks, const std::function<void(communicator&)>& body);

/// For threads, where BOOST_TEST is not: what was not `right` is counted in `wrong`.
void check(bool right);
int take_wrong(); ///< And begins anew.

/// The partial result of a logical shard, the same however shards are divided.
std::vector<float> partial_of(unsigned shard, std::size_t count, std::uint64_t seed);
std::vector<float> sum_in_order(unsigned shards, std::size_t count, std::uint64_t seed);
bool same_bits(std::span<const float> a, std::span<const float> b);

/// One of every call, of a size that `seed` picks: from nothing to several slots.
void one_of_each(communicator& on, unsigned all_shards, std::uint64_t seed);

} // namespace troupe::test
