// Programs that are started, and that never outlive who started them. The program is tests/actors/child_program.cpp.
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/child_process.hpp"
#include "tests/support/temporary_file.hpp"

using namespace troupe;
using namespace troupe::test;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(child_processes)

namespace {

const std::string program = TROUPE_CHILD_PROGRAM;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// A child, and its end.
struct running {
  std::promise<child_end> promise;
  std::future<child_end> end = promise.get_future();
  std::unique_ptr<child_process> child;

  explicit running(child_options options) {
    auto made = child_process::start(std::move(options), [this](const child_end& how) { promise.set_value(how); });
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    child = std::move(*made);
  }
  child_end wait() {
    BOOST_REQUIRE((end.wait_for(20s) == std::future_status::ready));
    return end.get();
  }
};

child_end end_of(child_options options) {
  return running(std::move(options)).wait();
}

child_options shell(const std::string& script) {
  return {{"/bin/sh", "-c", script}};
}

std::size_t entries(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

bool has_children() {
  return waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD;
}

template <class Condition>
bool within(std::chrono::milliseconds time, Condition condition) {
  for (const auto until = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < until;
       std::this_thread::sleep_for(2ms))
    if (condition())
      return true;
  return condition();
}

/// Where a child_program writes its number.
struct number_file {
  temporary_file place{{}, ".pid"};
  std::string path = place.path().string() + ".number";
  ~number_file() { std::filesystem::remove(path); }
  pid_t wait() const {
    BOOST_REQUIRE(within(20s, [&] { return std::filesystem::exists(path); }));
    pid_t pid = 0;
    std::ifstream(path) >> pid;
    return pid;
  }
};

bool is_stopped(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  return text.find(") T ") != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(how_a_child_ended_is_told) {
  const auto three = end_of(shell("exit 3"));
  BOOST_TEST(three.how == "ended with status 3");
  BOOST_TEST((WIFEXITED(three.status) && WEXITSTATUS(three.status) == 3));
  BOOST_TEST(end_of(shell("exit 0")).how == "ended with status 0");
  const auto fault = end_of(shell("kill -SEGV $$"));
  BOOST_TEST(fault.how == "was killed by signal 11 (Segmentation fault)");
  BOOST_TEST((WIFSIGNALED(fault.status) && WTERMSIG(fault.status) == SIGSEGV));
}

BOOST_AUTO_TEST_CASE(a_program_that_is_not_there_is_an_error_with_the_reason) {
  const auto missing = child_process::start({{"/nowhere/at all"}}, {});
  BOOST_REQUIRE(!missing);
  BOOST_TEST((missing.error().code == errc::unavailable));
  BOOST_TEST(missing.error().message == "The program /nowhere/at all cannot be started: No such file or directory.");
  const auto folder = child_process::start({{"/tmp"}}, {});
  BOOST_REQUIRE(!folder);
  BOOST_TEST(folder.error().message == "The program /tmp cannot be started: Permission denied.");
  const auto nothing = child_process::start({}, {});
  BOOST_REQUIRE(!nothing);
  BOOST_TEST((nothing.error().code == errc::invalid_argument));
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_CASE(a_child_begins_with_nothing_of_its_parents_but_stderr) {
  const int open_files[] = {open("/dev/zero", O_RDONLY), open("/dev/zero", O_RDONLY), dup2(2, 900)};
  sigset_t one, before;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &one, &before);
  const auto handler = std::signal(SIGPIPE, SIG_IGN);
  const auto handler_int = std::signal(SIGINT, SIG_IGN);
  BOOST_TEST(end_of({{program, "report"}}).how == "ended with status 0");
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, &before, &after);
  BOOST_TEST(sigismember(&after, SIGUSR1) == 1); // Starting a child changes nothing here.
  BOOST_TEST(sigismember(&after, SIGUSR2) == 0);
  std::signal(SIGPIPE, handler);
  std::signal(SIGINT, handler_int);
  for (const int number : open_files)
    close(number);
}

BOOST_AUTO_TEST_CASE(a_job_of_any_size_arrives) {
  std::mt19937 random(1);
  for (std::size_t size : {0u, 1u, 65536u, 65537u, 1000000u, 10000000u}) {
    std::vector<std::byte> job(size);
    for (auto& byte : job)
      byte = static_cast<std::byte>(random());
    const temporary_file file(job, ".job");
    BOOST_TEST(end_of({{program, "job", file.path().string()}, job}).how == "ended with status 0");
  }
}

BOOST_AUTO_TEST_CASE(a_child_that_does_not_read_its_job_holds_nobody_up) {
  const std::vector<std::byte> job(10000000);
  auto sleeps = shell("exec sleep 1000"), ends = shell("exit 7");
  ends.job = sleeps.job = job;
  BOOST_TEST(end_of(ends).how == "ended with status 7"); // Nor does SIGPIPE come.
  running child(sleeps);
  child.child->kill();
  BOOST_TEST(child.wait().how == "was killed by signal 9 (Killed)");
}

BOOST_AUTO_TEST_CASE(a_job_that_is_too_long_is_refused_and_the_descriptor_closed) {
  for (const bool fits : {true, false}) {
    int ends[2];
    BOOST_REQUIRE(pipe(ends) == 0);
    BOOST_REQUIRE(write(ends[1], "12345678901", fits ? 10 : 11) > 0);
    close(ends[1]);
    const auto job = read_job(ends[0], 10);
    BOOST_TEST(fcntl(ends[0], F_GETFD) == -1);
    BOOST_REQUIRE(job.has_value() == fits);
    if (fits)
      BOOST_TEST((*job == bytes_of("1234567890")));
    else
      BOOST_TEST((job.error().code == errc::limit_exceeded));
  }
  const auto none = read_job(-1, 10);
  BOOST_REQUIRE(!none);
  BOOST_TEST((none.error().code == errc::io));
}

BOOST_AUTO_TEST_CASE(children_that_are_given_up_leave_no_zombie_no_thread_and_no_descriptor) {
  const auto descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  for (int i = 0; i < 50; ++i) {
    running child(shell(i % 2 ? "exec sleep 1000" : "exit 0"));
    child.child.reset(); // It sleeps, has ended, or has hardly begun.
    BOOST_REQUIRE((child.end.wait_for(0s) == std::future_status::ready));
  }
  {
    std::vector<std::unique_ptr<running>> together;
    for (int i = 0; i < 20; ++i)
      together.push_back(std::make_unique<running>(shell("exec sleep 1000")));
    BOOST_TEST(entries("/proc/self/task") == threads + 20);
    for (auto& one : together)
      one->child.reset();
  }
  BOOST_TEST(entries("/proc/self/fd") == descriptors);
  BOOST_TEST(within(5s, [&] { return entries("/proc/self/task") == threads; }));
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_CASE(killing_a_child_while_it_ends_hits_nobody_else) {
  for (int i = 0; i < 100; ++i) {
    running child(shell("exit 0"));
    while (child.end.wait_for(0s) != std::future_status::ready)
      child.child->kill();
    child.child->kill(); // Its number may be another's by now.
    const auto how = child.end.get().how;
    BOOST_REQUIRE((how == "ended with status 0" || how == "was killed by signal 9 (Killed)"));
  }
}

BOOST_AUTO_TEST_CASE(a_stopped_child_is_killed_too) {
  const number_file number;
  running child({{program, "stop", number.path}, bytes_of(std::to_string(getpid()))});
  BOOST_TEST(number.wait() == child.child->pid());
  BOOST_REQUIRE(within(20s, [&] { return is_stopped(child.child->pid()); }));
  BOOST_TEST((child.end.wait_for(0s) == std::future_status::timeout)); // To stop is not to end.
  child.child.reset();
  BOOST_TEST(child.wait().how == "was killed by signal 9 (Killed)");
}

BOOST_AUTO_TEST_CASE(a_parent_that_is_killed_takes_its_child_with_it_though_that_is_stopped) {
  // Orphans become ours, so that we see how they end.
  BOOST_REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  for (const std::string what : {"hold", "stop"}) {
    const number_file number;
    running parent({{program, "parent", what, number.path}});
    const pid_t grandchild = number.wait();
    if (what == "stop")
      BOOST_REQUIRE(within(20s, [&] { return is_stopped(grandchild); }));
    parent.child->kill();
    BOOST_TEST(parent.wait().how == "was killed by signal 9 (Killed)");
    int status = 0;
    BOOST_REQUIRE(within(20s, [&] { return waitpid(grandchild, &status, WNOHANG) == grandchild; }));
    BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_CASE(a_child_whose_parent_has_ended_already_is_told) {
  const number_file number;
  BOOST_TEST(end_of({{program, "hold", number.path}, bytes_of("1")}).how == "ended with status 2");
}

BOOST_AUTO_TEST_SUITE_END()
