// A group of ranks on several hosts, over a TCP connection between each two.
//
// No thread is added: a call moves bytes itself, on sockets that never block, and spins for a bounded time before it
// sleeps in the kernel. A rank's death closes its connections, and that fails the others' calls at once.
//
// Connections are neither encrypted nor hidden: between hosts they belong on a network of the machines' own. A secret
// that all ranks know keeps strangers from joining by mistake, not from listening.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"

namespace troupe {

struct tcp_group_options {
  std::vector<unsigned> shards; ///< Logical shards of each rank: as many numbers as ranks, each at least 1.
  std::uint64_t epoch = 0, secret = 0;
  std::chrono::microseconds spin{50}; ///< How long a call spins before it sleeps.
};

/// Closes what it holds.
class socket_handle {
public:
  explicit socket_handle(int descriptor = -1) : descriptor_(descriptor) {}
  socket_handle(socket_handle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  socket_handle& operator=(socket_handle&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~socket_handle();
  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

private:
  int descriptor_;
};

/// Where a rank takes connections; made before the group, whose ranks need to know of each other.
class tcp_listener {
public:
  /// host: an IPv4 or IPv6 address of this machine. Errors: invalid_argument (no such), io.
  static expected<tcp_listener> open(const std::string& host);

  /// "127.0.0.1:34567", "[::1]:34567"
  const std::string& address() const { return address_; }
  int descriptor() const { return socket_.get(); }

private:
  tcp_listener(socket_handle socket, std::string address)
      : socket_(std::move(socket)), address_(std::move(address)) {}
  socket_handle socket_;
  std::string address_;
};

/// One rank of a group; returns when all have joined. addresses: of each rank's listener, this one's own included.
/// Connections of another epoch or secret are closed and change nothing.
/// Errors: invalid_argument (no such rank, wrong addresses), unavailable (the deadline has passed), io.
expected<std::unique_ptr<communicator>> join_tcp_group(const tcp_listener& own,
                                                       const std::vector<std::string>& addresses,
                                                       const tcp_group_options& options, unsigned rank,
                                                       communicator::deadline until);

} // namespace troupe
