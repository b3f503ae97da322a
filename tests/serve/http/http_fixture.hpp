// A server on a free port of the loopback, clients that are sockets of the test's thread, and an engine that says what the
// test wants.
#pragma once

#include <boost/test/unit_test.hpp>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "serve/http/server.hpp"
#include "serve/observe/views.hpp"
#include "tests/serve/http/echo_call.hpp"

namespace troupe::test {

using namespace std::chrono_literals;
using namespace troupe::serve;

inline constexpr auto patience = 30s; ///< So long a test waits for anything before it fails.

/// Notes what it is asked, and says what the test has it say.
class fake_engine : public engine_link {
public:
  explicit fake_engine(engine_door door) : door_(std::move(door)) {}

  std::optional<std::uint32_t> choose_stream() override { return stream; }
  void submit(std::uint32_t, generate_request request) override {
    change([&] { submitted.emplace(request.id, std::move(request)); });
  }
  void cancel(std::uint32_t, request_id id) override {
    change([&] { ++cancelled[id]; });
  }
  void pause(std::uint32_t, request_id id) override {
    change([&] { ++paused[id]; });
  }
  void resume(std::uint32_t, request_id id) override {
    change([&] { ++resumed[id]; });
  }
  void ask_report(bool with_actors, report_taker take) override {
    change([&] {
      ++questions;
      questions_of_actors += with_actors;
    });
    if (answers_questions)
      door_([take = std::move(take), report = report](engine_listener&) { take(report); });
  }

  void say(request_id id, std::string text) {
    token_delta delta;
    delta.id = id;
    delta.text = std::move(text);
    step_deltas step;
    step.deltas.push_back(std::move(delta));
    tell(std::move(step));
  }
  void end(request_id id, error failure = {errc::none, {}}) {
    request_end end;
    end.id = id;
    end.reason = failure.code == errc::none ? finish_reason::length : finish_reason::error;
    end.failure = std::move(failure);
    step_deltas step;
    step.ends.push_back(std::move(end));
    tell(std::move(step));
  }
  void lose_stream() {
    door_([](engine_listener& listener) { listener.stream_lost(0, {errc::unavailable, "It is gone."}); });
  }

  /// Waits until what was noted is so.
  template <class Holds>
  void eventually(const char* what, Holds holds) {
    std::unique_lock lock(mutex_);
    BOOST_REQUIRE_MESSAGE(changed_.wait_for(lock, patience, holds), "never came true: " << what);
  }
  /// The request with this number, counted from 1; waits for it.
  const generate_request& request(std::size_t number) {
    eventually("a request comes", [&] { return submitted.size() >= number; });
    std::lock_guard lock(mutex_);
    return std::next(submitted.begin(), static_cast<std::ptrdiff_t>(number - 1))->second;
  }

  std::map<request_id, generate_request> submitted;
  std::map<request_id, int> cancelled, paused, resumed;
  int questions = 0, questions_of_actors = 0;
  // What the test decides before it asks.
  std::optional<std::uint32_t> stream = 0;
  bool answers_questions = true;
  engine_report report = [] {
    engine_report healthy;
    healthy.status.engines = 1;
    return healthy;
  }();

private:
  void tell(step_deltas step) {
    door_([step = std::move(step)](engine_listener& listener) { listener.deliver({step}); });
  }
  template <class What>
  void change(What what) {
    std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }

  engine_door door_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

struct response {
  unsigned status = 0;
  std::map<std::string, std::string> fields; ///< Their names in lower case.
  std::string body;
};

class http_client {
public:
  /// `receive_bytes`: a small window, for a client that reads slowly.
  explicit http_client(std::uint16_t port, int receive_bytes = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_bytes > 0)
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    BOOST_REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  }
  ~http_client() { close(); }
  http_client(const http_client&) = delete;

  void close() {
    if (fd_ >= 0)
      ::close(std::exchange(fd_, -1));
  }
  /// Ends the connection by a RST.
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }

  /// As far as the server takes it.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0)
        return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  void get(const std::string& path, const std::string& fields = {}) {
    send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n");
  }
  void post(const std::string& path, const std::string& body, const std::string& fields = {}) {
    send("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body);
  }

  /// The next bytes into `in`; false where the server has closed.
  bool more(std::chrono::milliseconds wait = patience) {
    pollfd item{fd_, POLLIN, 0};
    BOOST_REQUIRE_MESSAGE(::poll(&item, 1, static_cast<int>(wait.count())) > 0, "nothing came; so far: " << in);
    char buffer[1 << 16];
    const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got > 0)
      in.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
  }
  /// All until the server closes.
  std::string rest() {
    while (more())
      ;
    return std::exchange(in, {});
  }
  void until(std::string_view text) {
    while (in.find(text) == in.npos)
      BOOST_REQUIRE_MESSAGE(more(), "closed before \"" << text << "\" came; so far: " << in);
  }
  bool quiet_for(std::chrono::milliseconds wait) {
    pollfd item{fd_, POLLIN, 0};
    return ::poll(&item, 1, static_cast<int>(wait.count())) == 0;
  }

  /// Status line and fields; the body stays in `in`.
  response head() {
    until("\r\n\r\n");
    response result;
    const auto end = in.find("\r\n\r\n");
    auto text = in.substr(0, end + 2);
    in.erase(0, end + 4);
    result.status = static_cast<unsigned>(std::stoul(text.substr(9, 3)));
    for (auto at = text.find("\r\n") + 2; at < text.size();) {
      const auto line = text.substr(at, text.find("\r\n", at) - at);
      at += line.size() + 2;
      const auto colon = line.find(": ");
      auto name = line.substr(0, colon);
      for (char& c : name)
        c = static_cast<char>(std::tolower(c));
      result.fields[name] = line.substr(colon + 2);
    }
    return result;
  }
  response read(bool has_body = true) {
    auto result = head();
    if (!has_body)
      return result;
    if (result.fields.contains("transfer-encoding"))
      return result.body = chunks(), result;
    if (!result.fields.contains("content-length"))
      return result;
    const auto length = std::stoul(result.fields["content-length"]);
    while (in.size() < length)
      BOOST_REQUIRE(more());
    result.body = in.substr(0, length);
    in.erase(0, length);
    return result;
  }
  std::string chunks() {
    std::string body;
    while (true) {
      until("\r\n");
      const auto end = in.find("\r\n");
      const auto size = std::stoul(in.substr(0, end), nullptr, 16);
      while (in.size() < end + size + 4)
        BOOST_REQUIRE(more());
      body += in.substr(end + 2, size);
      in.erase(0, end + size + 4);
      if (size == 0)
        return body;
    }
  }

  std::string in;

private:
  int fd_;
};

/// A server with an API of one path, /v1/echo, and a fake engine behind it.
class http_fixture {
public:
  explicit http_fixture(std::function<void(http_options&)> change = {}, bool ready = true) {
    http_options options;
    options.port = 0;
    options.version = "1.2.3";
    if (change)
      change(options);
    auto started =
      http_server::start(std::move(options), echo_api(),
                         [this](route_table& routes, status_board& board) { add_views(routes, board, looks); });
    BOOST_REQUIRE_MESSAGE(started, (started ? "" : started.error().message));
    server = std::move(*started);
    engine = std::make_shared<fake_engine>(server->door());
    if (ready)
      attach();
  }
  void attach() { server->attach(engine, {nullptr, "tiny", {}, 512, 1, {}}); }

  /// One request on a connection of its own.
  response get(const std::string& path, const std::string& fields = {}) {
    http_client client(server->port());
    client.get(path, fields);
    return client.read();
  }

  views looks;
  std::unique_ptr<http_server> server;
  std::shared_ptr<fake_engine> engine;
};

} // namespace troupe::test
