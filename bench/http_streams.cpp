// Many streams of completions at once, against bench/mock_server --http: does a token get lost, how much later than its
// step does it come, and what does a stream cost the server. Or many clients that go away, each in its own way.
//
//   build/bench/http_streams PORT --pid PID --clock FILE [--streams 1000] [--tokens 1000] [--stalled 1]
//   build/bench/http_streams PORT --pid PID --disconnects 10000 [--seed 1]
//
// One line of JSON. bench/http_scale runs both ends of all that docs/performance.md says of this.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/step_clock.hpp"

namespace {

using nlohmann::json;
using troupe::bench::steady_nanoseconds;
using troupe::bench::step_letters;

[[noreturn]] void give_up(const std::string& why) {
  std::cerr << "http_streams: " << why << "\n";
  std::exit(1);
}

class socket_handle {
public:
  /// `receive_bytes`: of a client that keeps little itself; 0: as usual.
  explicit socket_handle(std::uint16_t port, int receive_bytes = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_bytes > 0)
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    const timeval patience{60, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      give_up("nobody listens on port " + std::to_string(port));
  }
  socket_handle(socket_handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~socket_handle() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  int get() const { return fd_; }
  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0)
        return; // The server has closed: the reader sees that.
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// Has `close` send a RST.
  void close_by_reset() const {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }

private:
  int fd_;
};

std::string request(const json& body) {
  const auto text = body.dump();
  return "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(text.size()) + "\r\n\r\n" + text;
}

// What the server uses.

std::uint64_t resident_bytes(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t all = 0, resident = 0;
  if (!(file >> all >> resident))
    give_up("there is no process " + std::to_string(pid));
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t descriptors(int pid) {
  const std::filesystem::directory_iterator found("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(found), end(found)));
}

double cpu_seconds(int pid) {
  double sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(thread.path() / "schedstat");
    double nanoseconds = 0;
    file >> nanoseconds;
    sum += nanoseconds * 1e-9;
  }
  return sum;
}

json load_of(std::uint16_t port) {
  const socket_handle connection(port);
  connection.send("GET /load HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::string all;
  char buffer[1 << 14];
  for (ssize_t got; (got = ::recv(connection.get(), buffer, sizeof buffer, 0)) > 0;)
    all.append(buffer, static_cast<std::size_t>(got));
  return json::parse(all.substr(std::min(all.find("\r\n\r\n"), all.size())), nullptr, false);
}

// Streams.

json quantiles(std::vector<float>& sorted_here) {
  if (sorted_here.empty())
    return nullptr;
  std::sort(sorted_here.begin(), sorted_here.end());
  const auto at = [&](double share) {
    return sorted_here[static_cast<std::size_t>(share * static_cast<double>(sorted_here.size() - 1))];
  };
  return {{"p50", at(0.5)}, {"p99", at(0.99)}, {"max", sorted_here.back()}};
}

struct stream {
  socket_handle socket;
  std::string in; ///< What is not understood yet.
  std::uint32_t tokens = 0;
  int letter = -1;       ///< Of its last token.
  std::int64_t last = 0; ///< When that came.
  bool reads = true, done = false, complete = false;
};

class stream_run {
public:
  stream_run(std::uint32_t tokens, std::shared_ptr<troupe::bench::step_clock> clock)
      : wanted_(tokens), clock_(std::move(clock)) {}

  void open(std::uint16_t port, bool reads) {
    auto& fresh = streams_.emplace_back(socket_handle(port, reads ? 0 : 4096));
    fresh.reads = reads;
    fresh.socket.send(
      request({{"prompt", "The sea"}, {"max_tokens", wanted_}, {"ignore_eos", true}, {"stream", true}}));
    if (reads)
      ++reading_;
  }

  /// Until all that read are done. `when_all_run` is called once each of them has had its tenth token.
  template <class WhenAllRun>
  void run(WhenAllRun when_all_run) {
    const int poll = ::epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < streams_.size(); ++i)
      if (streams_[i].reads) {
        epoll_event wanted{EPOLLIN, {.u64 = i}};
        ::epoll_ctl(poll, EPOLL_CTL_ADD, streams_[i].socket.get(), &wanted);
      }
    std::vector<epoll_event> events(1024);
    while (done_ < reading_) {
      const int count = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), 60000);
      if (count <= 0)
        give_up("nothing came for a minute");
      for (int i = 0; i < count; ++i)
        read(streams_[events[static_cast<std::size_t>(i)].data.u64]);
      if (!all_run_ && running_ == reading_) {
        all_run_ = true;
        begun_ = steady_nanoseconds();
        when_all_run();
      }
    }
    ended_ = steady_nanoseconds();
    ::close(poll);
  }

  json result() {
    std::uint64_t tokens = 0, incomplete = 0;
    for (const auto& each : streams_)
      if (each.reads) {
        tokens += each.tokens;
        incomplete += !each.complete || each.tokens != wanted_;
      }
    const auto seconds = static_cast<double>(ended_ - begun_) * 1e-9;
    return {{"streams", streams_.size()},
            {"tokens", tokens},
            {"lost", lost_},
            {"incomplete", incomplete},
            {"seconds", seconds},
            {"tokens_per_second", static_cast<double>(ages_.size()) / seconds},
            {"added_ms", quantiles(ages_)},
            {"itl_ms", quantiles(gaps_)}};
  }

private:
  void read(stream& from) {
    char buffer[1 << 16];
    const auto got = ::recv(from.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (got <= 0)
      return finish(from);
    from.in.append(buffer, static_cast<std::size_t>(got));
    const auto now = steady_nanoseconds();
    constexpr std::string_view before = "\"text\":\"";
    std::size_t at = 0;
    for (;;) {
      const auto text = from.in.find(before, at);
      const auto end = text == std::string::npos ? text : from.in.find('"', text + before.size());
      if (end == std::string::npos)
        break;
      for (auto i = text + before.size(); i < end; ++i)
        take(from, from.in[i], now);
      at = end;
    }
    from.complete = from.complete || from.in.find("data: [DONE]", at) != std::string::npos;
    // Half of a match may be at the end.
    from.in.erase(0, std::max(at, from.in.size() - std::min<std::size_t>(from.in.size(), 4096)));
    if (from.complete)
      finish(from);
  }

  void take(stream& from, char c, std::int64_t now) {
    const auto letter = static_cast<int>(step_letters.find(c));
    if (from.letter >= 0 && letter != (from.letter + 1) % static_cast<int>(step_letters.size()))
      ++lost_;
    if (all_run_) {
      ages_.push_back(static_cast<float>(now - (*clock_)[static_cast<std::size_t>(letter)]) * 1e-6f);
      gaps_.push_back(static_cast<float>(now - from.last) * 1e-6f);
    }
    from.letter = letter;
    from.last = now;
    running_ += ++from.tokens == 10;
  }

  void finish(stream& which) {
    if (!std::exchange(which.done, true)) {
      ++done_;
      ::shutdown(which.socket.get(), SHUT_RDWR);
    }
  }

  std::uint32_t wanted_;
  std::shared_ptr<troupe::bench::step_clock> clock_;
  std::vector<stream> streams_;
  std::size_t reading_ = 0, running_ = 0, done_ = 0;
  bool all_run_ = false;
  std::int64_t begun_ = 0, ended_ = 0;
  std::uint64_t lost_ = 0;
  std::vector<float> ages_, gaps_; ///< Milliseconds, while all run.
};

json run_streams(std::uint16_t port, int pid, std::uint32_t count, std::uint32_t stalled, std::uint32_t tokens,
                 const std::string& clock_file) {
  auto clock = troupe::bench::map_step_clock(clock_file);
  if (!clock)
    give_up("--clock: " + clock_file + " cannot be mapped");
  stream_run all(tokens, clock);
  const auto bytes_before = resident_bytes(pid);
  for (std::uint32_t i = 0; i < count; ++i)
    all.open(port, i >= stalled);
  std::uint64_t bytes_during = 0;
  double server_before = 0, own_before = 0;
  all.run([&] {
    bytes_during = resident_bytes(pid);
    server_before = cpu_seconds(pid);
    own_before = cpu_seconds(::getpid());
  });
  auto result = all.result();
  const double seconds = result["seconds"];
  result["stalled"] = stalled;
  result["server_kib_per_stream"] =
    (static_cast<double>(bytes_during) - static_cast<double>(bytes_before)) / 1024 / std::max(count, 1u);
  result["server_cores"] = (cpu_seconds(pid) - server_before) / seconds;
  result["client_cores"] = (cpu_seconds(::getpid()) - own_before) / seconds;
  return result;
}

// Clients that go away.

class vanishing_clients {
public:
  vanishing_clients(std::uint16_t port, std::uint32_t seed) : port_(port), random_(seed) {}

  void vanish() {
    const json body = {{"prompt", std::string(1 + pick(300), 'x')},
                       {"max_tokens", 1 + pick(200)},
                       {"n", 1 + pick(3)},
                       {"ignore_eos", true},
                       {"stream", pick(4) > 0}};
    const auto bytes = request(body);
    const socket_handle connection(port_);
    const auto how = pick(5);
    if (how ==
        0) // In the middle of the request; 1: at once after it; 2, 3: in the middle of the answer; 4: after it.
      connection.send(bytes.substr(0, pick(bytes.size())));
    else
      connection.send(bytes);
    if (how >= 2)
      read(connection, how == 4 ? std::size_t{1} << 30 : 1 + pick(6000));
    if (pick(2))
      connection.close_by_reset();
    else if (pick(2))
      ::shutdown(connection.get(), SHUT_WR);
  }

private:
  std::size_t pick(std::size_t below) { return random_() % below; }

  void read(const socket_handle& from, std::size_t bytes) {
    char buffer[1 << 14];
    std::string tail;
    while (bytes > 0) {
      const auto got = ::recv(from.get(), buffer, std::min(bytes, sizeof buffer), 0);
      if (got <= 0)
        return;
      bytes -= static_cast<std::size_t>(got);
      tail.append(buffer, static_cast<std::size_t>(got));
      if (tail.find("[DONE]") != tail.npos || tail.find("\"usage\"") != tail.npos)
        return;
      tail.erase(0, tail.size() - std::min<std::size_t>(tail.size(), 16));
    }
  }

  std::uint16_t port_;
  std::mt19937 random_;
};

json run_disconnects(std::uint16_t port, int pid, std::uint32_t count, std::uint32_t seed) {
  constexpr std::uint32_t at_once = 32;
  {
    vanishing_clients first(port, seed); // The server has then made what it makes once.
    for (int i = 0; i < 100; ++i)
      first.vanish();
  }
  const auto settle = [&] {
    for (int tries = 0; tries < 300; ++tries) {
      if (const auto load = load_of(port);
          load.is_object() && load["server_load"] == 0 && load["running"] == 0 && load["kv_owned"] == 0)
        return load;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    give_up("requests are open, or own blocks, half a minute after their clients have gone");
  };
  settle();
  const auto descriptors_before = descriptors(pid);
  const auto bytes_before = resident_bytes(pid);
  const auto begun = steady_nanoseconds();
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < at_once; ++i)
    threads.emplace_back([=] {
      vanishing_clients mine(port, seed + 1 + i);
      for (auto left = count / at_once + (i < count % at_once); left > 0; --left)
        mine.vanish();
    });
  for (auto& each : threads)
    each.join();
  const auto seconds = static_cast<double>(steady_nanoseconds() - begun) * 1e-9;
  const auto load = settle();
  return {{"clients", count},
          {"seconds", seconds},
          {"descriptors_before", descriptors_before},
          {"descriptors_after", descriptors(pid)},
          {"mib_before", static_cast<double>(bytes_before) / (1 << 20)},
          {"mib_after", static_cast<double>(resident_bytes(pid)) / (1 << 20)},
          {"load", load}};
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("Many clients of one HTTP server");
  std::uint16_t port = 0;
  int pid = 0;
  std::uint32_t streams = 1000, tokens = 1000, stalled = 0, disconnects = 0, seed = 1;
  std::string clock_file;
  app.add_option("port", port)->required();
  app.add_option("--pid", pid, "the server's")->required();
  app.add_option("--clock", clock_file, "the server's");
  app.add_option("--streams", streams);
  app.add_option("--tokens", tokens, "of each stream");
  app.add_option("--stalled", stalled, "so many of the streams are not read");
  app.add_option("--disconnects", disconnects, "so many clients that go away, instead of streams");
  app.add_option("--seed", seed);
  CLI11_PARSE(app, argc, argv);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const auto result = disconnects > 0 ? run_disconnects(port, pid, disconnects, seed)
                                      : run_streams(port, pid, streams, stalled, tokens, clock_file);
  std::cout << result.dump() << std::endl;
}
