// Groups over TCP: who may join, and what a death does.
#include <boost/test/unit_test.hpp>

#include <csignal>
#include <thread>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/comm/groups.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(tcp)

namespace {

tcp_listener listener() {
  auto made = tcp_listener::open("127.0.0.1");
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  return std::move(*made);
}

constexpr std::uint64_t secret = 5;
const tcp_group_options two{.shards = {1, 1}, .epoch = test_epoch, .secret = secret};

} // namespace

BOOST_AUTO_TEST_CASE(a_killed_process_ends_the_others_calls_at_once) {
  const auto first = listener(), second = listener();
  const std::vector<std::string> addresses{first.address(), second.address()};
  const auto child = fork();
  if (child == 0) {
    auto other = join_tcp_group(second, addresses, two, 1, in(20s));
    std::vector<float> data(30000);
    for (;;)
      if (!other || !(*other)->all_reduce(data, data, in(60s)))
        _exit(1);
  }
  auto mine = join_tcp_group(first, addresses, two, 0, in(20s));
  BOOST_REQUIRE_MESSAGE(mine, mine.error().message);
  std::vector<float> data(30000);
  for (int i = 0; i < 100; ++i)
    BOOST_TEST_REQUIRE((*mine)->all_reduce(data, data, in(20s)).has_value());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  expected<void> ended;
  for (int i = 0; i < 3 && ended; ++i)
    ended = (*mine)->all_reduce(data, data, in(60s));
  BOOST_REQUIRE(!ended);
  BOOST_TEST(ended.error().message == "The connection to rank 1 is gone (epoch 7).");
}

BOOST_AUTO_TEST_CASE(strangers_and_ranks_of_another_epoch_are_shown_out_and_change_nothing) {
  const auto first = listener(), second = listener();
  const std::vector<std::string> addresses{first.address(), second.address()};
  auto old = two, stranger = two;
  old.epoch = test_epoch - 1;
  stranger.secret = 0;
  expected<std::unique_ptr<communicator>> mine, refused[2], right;
  {
    std::jthread a([&] { mine = join_tcp_group(first, addresses, two, 0, in(20s)); });
    std::jthread b([&] { refused[0] = join_tcp_group(second, addresses, old, 1, in(200ms)); });
    std::jthread c([&] { refused[1] = join_tcp_group(second, addresses, stranger, 1, in(200ms)); });
    std::jthread silent([&] {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(first.address().substr(10))));
      const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
      check(connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
      std::this_thread::sleep_for(300ms);
      close(socket);
    });
    b.join();
    c.join();
    right = join_tcp_group(second, addresses, two, 1, in(20s));
  }
  BOOST_TEST(take_wrong() == 0);
  for (const auto& one : refused) {
    BOOST_REQUIRE(!one);
    BOOST_TEST((one.error().code == errc::unavailable));
  }
  BOOST_REQUIRE_MESSAGE(mine, mine.error().message);
  BOOST_REQUIRE_MESSAGE(right, right.error().message);
  std::jthread other([&] { check((*right)->barrier(in(20s)).has_value()); });
  BOOST_TEST((*mine)->barrier(in(20s)).has_value());
  other.join();
  BOOST_TEST(take_wrong() == 0);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_and_who_does_not_come_is_an_error_at_the_deadline) {
  const auto own = listener();
  const std::vector<std::string> addresses{own.address(), "127.0.0.1:1"};
  BOOST_TEST((join_tcp_group(own, addresses, two, 2, in(1s)).error().code == errc::invalid_argument));
  BOOST_TEST((join_tcp_group(own, {own.address()}, two, 0, in(1s)).error().code == errc::invalid_argument));
  BOOST_TEST(
    (join_tcp_group(own, {"nowhere", own.address()}, two, 1, in(1s)).error().code == errc::invalid_argument));
  BOOST_TEST((join_tcp_group(own, addresses, two, 0, in(50ms)).error().code == errc::unavailable));
  BOOST_TEST(
    (join_tcp_group(own, {"127.0.0.1:1", own.address()}, two, 1, in(50ms)).error().code == errc::unavailable));
  BOOST_TEST((tcp_listener::open("localhost").error().code == errc::invalid_argument));
  BOOST_TEST((tcp_listener::open("192.0.2.1").error().code == errc::io));
  const auto six = tcp_listener::open("::1");
  BOOST_TEST((!six || six->address().starts_with("[::1]:")));
}

BOOST_AUTO_TEST_SUITE_END()
