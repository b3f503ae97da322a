// Groups over shared memory, between processes.
#include <boost/test/unit_test.hpp>

#include <csignal>
#include <filesystem>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/comm/groups.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(shared_memory)

BOOST_AUTO_TEST_CASE(processes_join_by_an_address) {
  const auto options = options_of({1, 1, 1});
  const auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  std::vector<pid_t> children;
  for (unsigned rank = 0; rank < 3; ++rank)
    if (const auto child = fork(); child == 0) {
      auto made = join_shared_group(group->address(), options, rank);
      take_wrong();
      for (std::uint64_t seed = 0; made && seed < 60; ++seed)
        one_of_each(**made, 3, seed);
      _exit(made && take_wrong() == 0 ? 0 : 1);
    } else {
      children.push_back(child);
    }
  for (const auto child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
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

BOOST_AUTO_TEST_CASE(who_keeps_the_memory_can_abort) {
  const auto options = options_of({1, 1});
  auto group = shared_group::create(options);
  BOOST_REQUIRE(group);
  const auto rank = join(*group, options, 0);
  group->abort();
  const auto ended = rank->barrier(in(60s));
  BOOST_REQUIRE(!ended);
  BOOST_TEST(ended.error().message == "The group of epoch 7 was aborted.");
}

BOOST_AUTO_TEST_SUITE_END()
