#include "comm/tcp.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "comm/shards.hpp"

namespace troupe {

namespace {

using clock = std::chrono::steady_clock;

struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<socket_address> parse(const std::string& host, std::uint16_t port) {
  socket_address out;
  auto* four = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    out.size = sizeof *four;
  } else if (inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    out.size = sizeof *six;
  } else {
    return {};
  }
  return out;
}

/// "HOST:PORT" or "[HOST]:PORT".
std::optional<socket_address> parse(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return {};
  auto host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  char* end = nullptr;
  const auto port = std::strtoul(address.c_str() + colon + 1, &end, 10);
  if (*end != '\0' || port == 0 || port > 65535)
    return {};
  return parse(host, static_cast<std::uint16_t>(port));
}

/// What the rank that connects sends first; the other answers with `accepted`.
struct greeting {
  std::uint64_t magic, epoch, secret, shards;
  std::uint32_t rank, ranks;
  bool operator==(const greeting&) const = default;
};
constexpr std::uint64_t hello_number = 0x3170635475675254;
constexpr char accepted = '+';

int milliseconds_to(clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60000));
}

/// Waits for `events` on a socket, at most until then.
bool ready(int descriptor, short events, clock::time_point until) {
  do {
    pollfd on{descriptor, events, 0};
    const int found = poll(&on, 1, milliseconds_to(until));
    if (found > 0 || (found < 0 && errno != EINTR))
      return found > 0;
  } while (clock::now() < until);
  return false;
}

/// Whole or not at all, of a few bytes.
bool receive_whole(int descriptor, void* to, std::size_t bytes, clock::time_point until) {
  for (std::size_t done = 0; done < bytes;) {
    const auto got = recv(descriptor, static_cast<char*>(to) + done, bytes - done, MSG_DONTWAIT);
    if (got > 0)
      done += static_cast<std::size_t>(got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR) || !ready(descriptor, POLLIN, until))
      return false;
  }
  return true;
}

/// Before each message: which of the calls it belongs to, and how many bytes follow.
struct message_header {
  std::uint64_t call, bytes;
  bool operator==(const message_header&) const = default;
};

/// What a call moves between this rank and one other, in both directions.
struct transfer {
  unsigned peer = 0;
  message_header out{}, in{}, expected{};
  std::span<const std::byte> send{};
  std::span<std::byte> receive{};
  bool sends = false, receives = false;
  std::size_t sent = 0, received = 0; ///< Of the header and the bytes.

  bool is_done() const { return !wants_to_send() && !wants_to_receive(); }
  bool wants_to_send() const { return sends && sent < sizeof out + send.size(); }
  bool wants_to_receive() const { return receives && received < sizeof in + receive.size(); }
};

/// The parts of {header, bytes} that are not done.
template <class Header, class Byte>
std::array<iovec, 2> parts_left(Header& header, std::span<Byte> bytes, std::size_t done) {
  const auto of_header = std::min(done, sizeof header), of_bytes = done - of_header;
  const auto address = [](auto* p) { return const_cast<void*>(static_cast<const void*>(p)); };
  return {iovec{address(reinterpret_cast<const char*>(&header) + of_header), sizeof header - of_header},
          iovec{address(bytes.data() + of_bytes), bytes.size() - of_bytes}};
}

class tcp_rank final : public communicator {
public:
  tcp_rank(std::vector<socket_handle> peers, tcp_group_options options, unsigned rank)
      : peers_(std::move(peers)), options_(std::move(options)), rank_(rank) {}

  unsigned rank() const override { return rank_; }
  unsigned size() const override { return static_cast<unsigned>(peers_.size()); }
  std::uint64_t epoch() const override { return options_.epoch; }
  unsigned shards() const override { return options_.shards[rank_]; }

  expected<void> all_reduce(std::span<const float> partial, std::span<float> sum, deadline until) override {
    if (partial.size() != sum.size() * shards())
      return misused("all_reduce of another number of floats than shards times the sum");
    return sum.size() <= small_sum ? add_all(partial, sum, until) : add_in_parts(partial, sum, until);
  }

  expected<void> all_gather(std::span<const std::byte> mine, std::span<std::byte> all, deadline until) override {
    if (all.size() != mine.size() * size())
      return misused("all_gather into another number of bytes than each rank's together");
    copy_bytes(all.data() + rank_ * mine.size(), mine.data(), mine.size());
    return with_others([&](unsigned) { return mine; },
                       [&](unsigned peer) { return all.subspan(peer * mine.size(), mine.size()); }, until);
  }

  expected<void> broadcast(std::span<std::byte> data, unsigned root, deadline until) override {
    if (root >= size())
      return misused("broadcast from a rank that the group has not");
    ++calls_;
    transfers_.clear();
    for (unsigned peer = 0; peer < size(); ++peer)
      if (peer != rank_ && (root == rank_ || root == peer))
        add_transfer(peer, root == rank_ ? std::optional<std::span<const std::byte>>(data) : std::nullopt,
                     root == peer ? std::optional(data) : std::nullopt);
    return move(until);
  }

  expected<void> all_to_all(std::span<const std::byte> to, std::span<std::byte> from, deadline until) override {
    if (to.size() != from.size() || to.size() % size() != 0)
      return misused("all_to_all of bytes that the ranks do not divide");
    const auto each = to.size() / size();
    copy_bytes(from.data() + rank_ * each, to.data() + rank_ * each, each);
    return with_others([&](unsigned peer) { return to.subspan(peer * each, each); },
                       [&](unsigned peer) { return from.subspan(peer * each, each); }, until);
  }

  expected<void> send(std::span<const std::byte> data, unsigned to, deadline until) override {
    if (to >= size() || to == rank_)
      return misused("send to no other rank of the group");
    transfers_.clear();
    add_transfer(to, data, std::nullopt, between_two);
    return move(until);
  }

  expected<void> receive(std::span<std::byte> data, unsigned from, deadline until) override {
    if (from >= size() || from == rank_)
      return misused("receive from no other rank of the group");
    transfers_.clear();
    add_transfer(from, std::nullopt, data, between_two);
    return move(until);
  }

  expected<void> barrier(deadline until) override { return all_gather({}, {}, until); }

  void abort() override {
    aborted_ = true;
    for (const auto& peer : peers_)
      if (peer)
        shutdown(peer.get(), SHUT_RDWR); // Wakes who waits, here and there.
  }

  bool is_broken() const override { return aborted_; }

private:
  static constexpr std::uint64_t between_two = ~std::uint64_t{0};

  void add_transfer(unsigned peer, std::optional<std::span<const std::byte>> send,
                    std::optional<std::span<std::byte>> receive, std::optional<std::uint64_t> call = {}) {
    transfer t{.peer = peer, .sends = send.has_value(), .receives = receive.has_value()};
    if (send) {
      t.send = *send;
      t.out = {call.value_or(calls_), send->size()};
    }
    if (receive)
      t.receive = *receive;
    t.expected = {call.value_or(calls_), t.receive.size()};
    transfers_.push_back(t);
  }

  /// One call in which each rank sends something to each other.
  template <class Send, class Receive>
  expected<void> with_others(Send send, Receive receive, deadline until) {
    ++calls_;
    transfers_.clear();
    for (unsigned peer = 0; peer < size(); ++peer)
      if (peer != rank_)
        add_transfer(peer, std::span<const std::byte>(send(peer)), receive(peer));
    return move(until);
  }

  std::size_t all_shards() const {
    std::size_t sum = 0;
    for (const auto shards : options_.shards)
      sum += shards;
    return sum;
  }

  /// Points to each logical shard's floats: this rank's in `partial`, where shards are `stride` apart, from `first` on;
  /// others' in `came`, one after another.
  void point_at(std::span<const float> partial, std::size_t stride, std::size_t first, const float* came,
                std::size_t count) {
    parts_.clear();
    for (unsigned r = 0; r < size(); ++r)
      for (unsigned s = 0; s < options_.shards[r]; ++s) {
        parts_.push_back(r == rank_ ? partial.data() + s * stride + first : came);
        came += r == rank_ ? 0 : count;
      }
  }

  /// sum = the floats [first, first + sum.size()) of all shards; this rank's may be what `sum` overwrites.
  void add_up(std::span<const float> partial, std::size_t stride, std::size_t first, std::span<float> sum) {
    point_at(partial, stride, first, came_.data(), sum.size());
    const bool overlaps = std::ranges::find(parts_, sum.data()) != parts_.end();
    if (!overlaps || parts_[0] == sum.data())
      return add_in_order(parts_, sum);
    own_.assign(sum.begin(), sum.end()); // One shard, in the place of the sum, that is not the first.
    std::ranges::replace(parts_, static_cast<const float*>(sum.data()), static_cast<const float*>(own_.data()));
    add_in_order(parts_, sum);
  }

  /// Where the floats of a peer's shards come to, `count` for each.
  std::span<std::byte> place_of(unsigned peer, std::size_t count) {
    std::size_t at = 0;
    for (unsigned r = 0; r < peer; ++r)
      at += r == rank_ ? 0 : options_.shards[r];
    return std::as_writable_bytes(std::span(came_).subspan(at * count, options_.shards[peer] * count));
  }

  expected<void> add_all(std::span<const float> partial, std::span<float> sum, deadline until) {
    came_.resize((all_shards() - shards()) * sum.size());
    if (auto moved = with_others([&](unsigned) { return std::as_bytes(partial); },
                                 [&](unsigned peer) { return place_of(peer, sum.size()); }, until);
        !moved)
      return moved;
    add_up(partial, sum.size(), 0, sum);
    return {};
  }

  /// Each rank gets and adds up its part of all shards, and gives it to the others.
  expected<void> add_in_parts(std::span<const float> partial, std::span<float> sum, deadline until) {
    const auto mine = sum_part_of(sum.size(), rank_, size());
    came_.resize((all_shards() - shards()) * mine.size());
    leaving_.clear();
    std::vector<std::size_t> begins;
    for (unsigned peer = 0; peer < size(); ++peer) {
      const auto part = sum_part_of(sum.size(), peer, size());
      begins.push_back(leaving_.size());
      for (unsigned s = 0; s < shards() && peer != rank_; ++s)
        leaving_.insert(leaving_.end(), &partial[s * sum.size()] + part.begin, &partial[s * sum.size()] + part.end);
    }
    begins.push_back(leaving_.size());
    const auto leaves = [&](unsigned peer) {
      return std::as_bytes(std::span(leaving_).subspan(begins[peer], begins[peer + 1] - begins[peer]));
    };
    if (auto moved = with_others(
          leaves, [&](unsigned peer) { return place_of(peer, mine.size()); }, until);
        !moved)
      return moved;
    const auto own = sum.subspan(mine.begin, mine.size());
    add_up(partial, sum.size(), mine.begin, own);
    const auto part_of = [&](unsigned peer) {
      const auto part = sum_part_of(sum.size(), peer, size());
      return std::as_writable_bytes(sum.subspan(part.begin, part.size()));
    };
    return with_others([&](unsigned) { return std::as_bytes(own); }, part_of, until);
  }

  /// Moves all transfers to their end.
  expected<void> move(deadline until) {
    if (broken_)
      return tl::unexpected(*broken_);
    auto last_progress = clock::now();
    for (;;) {
      bool all_done = true, progress = false;
      for (auto& t : transfers_)
        if (!t.is_done()) {
          if (auto failure = advance(t, progress))
            return tl::unexpected(*failure);
          all_done = all_done && t.is_done();
        }
      if (all_done)
        return {};
      const auto now = clock::now();
      if (progress) {
        last_progress = now;
      } else if (now >= until) {
        return broken(errc::unavailable, fmt::format("Rank {} did not come to where rank {} waits (epoch {}).",
                                                     waits_for(), rank_, options_.epoch));
      } else if (now - last_progress >= options_.spin) {
        if (auto failure = sleep(until))
          return tl::unexpected(*failure);
      }
    }
  }

  std::optional<error> advance(transfer& t, bool& progress) {
    const auto moves = [&](ssize_t moved) {
      progress = progress || moved > 0;
      return moved > 0 ? static_cast<std::size_t>(moved) : 0;
    };
    if (t.wants_to_send()) {
      auto parts = parts_left(t.out, t.send, t.sent);
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      const auto moved = sendmsg(peers_[t.peer].get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (moved < 0 && errno != EAGAIN && errno != EINTR)
        return lost(t.peer);
      t.sent += moves(moved);
    }
    if (t.wants_to_receive()) {
      auto parts = parts_left(t.in, t.receive, t.received);
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      const auto moved = recvmsg(peers_[t.peer].get(), &message, MSG_DONTWAIT);
      if (moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR))
        return lost(t.peer);
      const bool knew = t.received >= sizeof t.in;
      t.received += moves(moved);
      if (!knew && t.received >= sizeof t.in && t.in != t.expected)
        return broken(errc::internal,
                      fmt::format("Rank {} has {} bytes for rank {}, which expects {} in its call: they "
                                  "call different things.",
                                  t.peer, t.in.bytes, rank_, t.expected.bytes))
          .error();
    }
    return {};
  }

  /// Until some transfer can go on, or something has failed.
  std::optional<error> sleep(deadline until) {
    waiting_.clear();
    for (const auto& t : transfers_)
      if (!t.is_done())
        waiting_.push_back({peers_[t.peer].get(),
                            static_cast<short>(t.wants_to_receive() ? POLLIN | (t.wants_to_send() ? POLLOUT : 0)
                                                                    : POLLOUT | POLLRDHUP),
                            0});
    poll(waiting_.data(), waiting_.size(), milliseconds_to(until));
    // Who only sends would not see that the other is gone while that one's window is closed.
    for (const auto& one : waiting_)
      if (one.revents & POLLRDHUP)
        for (unsigned peer = 0; peer < size(); ++peer)
          if (peers_[peer].get() == one.fd)
            return lost(peer);
    return {};
  }

  unsigned waits_for() const {
    const auto late = std::ranges::find_if(transfers_, [](const transfer& t) { return !t.is_done(); });
    return late == transfers_.end() ? rank_ : late->peer;
  }

  std::optional<error> lost(unsigned peer) {
    return broken(errc::unavailable,
                  aborted_ ? fmt::format("The group of epoch {} was aborted.", options_.epoch)
                           : fmt::format("The connection to rank {} is gone (epoch {}).", peer, options_.epoch))
      .error();
  }

  expected<void> misused(const char* how) { return broken(errc::internal, fmt::format("Rank {}: {}.", rank_, how)); }

  expected<void> broken(errc code, std::string message) {
    broken_ = error{code, std::move(message)};
    abort(); // The others need not wait for their deadlines.
    return tl::unexpected(*broken_);
  }

  std::vector<socket_handle> peers_; ///< By rank; none for this one.
  const tcp_group_options options_;
  const unsigned rank_;
  std::uint64_t calls_ = 0; ///< In which all ranks take part.
  std::vector<transfer> transfers_;
  std::vector<pollfd> waiting_;
  std::vector<float> came_, leaving_, own_;
  std::vector<const float*> parts_;
  std::atomic<bool> aborted_{false};
  std::optional<error> broken_;
};

/// A connection to a rank that listens and may not do so yet, with the greeting accepted.
expected<socket_handle> connect_to(const std::string& address, const greeting& hello, communicator::deadline until) {
  const auto where = parse(address);
  if (!where)
    return fail(errc::invalid_argument, fmt::format("\"{}\" is no address of a rank.", address));
  for (; clock::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    socket_handle made(socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made)
      return fail(errc::io, fmt::format("The system gives no socket: {}.", std::strerror(errno)));
    if (connect(made.get(), where->get(), where->size) != 0 && errno != EINPROGRESS)
      continue;
    char answer = 0;
    if (ready(made.get(), POLLOUT, until) &&
        send(made.get(), &hello, sizeof hello, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof hello) &&
        receive_whole(made.get(), &answer, 1, until) && answer == accepted)
      return made;
  }
  return fail(errc::unavailable, fmt::format("The rank at {} did not take the connection in time.", address));
}

/// The next rank that connects to `own` with a greeting as it should be. Others are closed.
expected<std::pair<unsigned, socket_handle>> next_peer(const tcp_listener& own, const greeting& like,
                                                       communicator::deadline until) {
  // A stranger that says nothing must not use up the time of those who belong here.
  constexpr std::chrono::milliseconds most_patience{500};
  while (clock::now() < until) {
    if (!ready(own.descriptor(), POLLIN, until))
      continue;
    socket_handle came(accept4(own.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    greeting theirs{};
    if (!came || !receive_whole(came.get(), &theirs, sizeof theirs, std::min(until, clock::now() + most_patience)))
      continue;
    const auto rank = theirs.rank;
    theirs.rank = like.rank;
    if (theirs == like && rank < like.ranks && rank > like.rank && send(came.get(), &accepted, 1, MSG_NOSIGNAL) == 1)
      return std::pair(static_cast<unsigned>(rank), std::move(came));
  }
  return fail(errc::unavailable, fmt::format("Not all ranks connected to rank {} in time.", like.rank));
}

void send_at_once(const socket_handle& on) {
  const int yes = 1;
  setsockopt(on.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

} // namespace

socket_handle::~socket_handle() {
  if (descriptor_ >= 0)
    close(descriptor_);
}

expected<tcp_listener> tcp_listener::open(const std::string& host) {
  const auto where = parse(host, 0);
  if (!where)
    return fail(errc::invalid_argument, fmt::format("\"{}\" is no IP address.", host));
  socket_handle made(socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  socket_address bound;
  bound.size = sizeof bound.storage;
  if (!made || bind(made.get(), where->get(), where->size) != 0 || listen(made.get(), SOMAXCONN) != 0 ||
      getsockname(made.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0)
    return fail(errc::io, fmt::format("Nothing can listen on {}: {}.", host, std::strerror(errno)));
  const bool six = bound.storage.ss_family == AF_INET6;
  const auto port = ntohs(six ? reinterpret_cast<sockaddr_in6*>(&bound.storage)->sin6_port
                              : reinterpret_cast<sockaddr_in*>(&bound.storage)->sin_port);
  return tcp_listener(std::move(made), six ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port));
}

expected<std::unique_ptr<communicator>> join_tcp_group(const tcp_listener& own,
                                                       const std::vector<std::string>& addresses,
                                                       const tcp_group_options& options, unsigned rank,
                                                       communicator::deadline until) {
  const auto ranks = options.shards.size();
  if (rank >= ranks || addresses.size() != ranks || addresses[rank] != own.address() ||
      std::ranges::find(options.shards, 0u) != options.shards.end())
    return fail(errc::invalid_argument,
                fmt::format("Rank {} of {} with {} addresses cannot be.", rank, ranks, addresses.size()));
  greeting hello{hello_number,   options.epoch,
                 options.secret, hash_of_shards(options.shards),
                 rank,           static_cast<std::uint32_t>(ranks)};
  std::vector<socket_handle> peers(ranks);
  for (unsigned peer = 0; peer < rank; ++peer) {
    auto made = connect_to(addresses[peer], hello, until);
    if (!made)
      return tl::unexpected(made.error());
    peers[peer] = std::move(*made);
  }
  for (std::size_t missing = ranks - 1 - rank; missing > 0;) {
    auto came = next_peer(own, hello, until);
    if (!came)
      return tl::unexpected(came.error());
    missing -= !peers[came->first]; // One that comes again has lost its first connection.
    peers[came->first] = std::move(came->second);
  }
  for (const auto& peer : peers)
    if (peer)
      send_at_once(peer);
  return std::make_unique<tcp_rank>(std::move(peers), options, rank);
}

} // namespace troupe
