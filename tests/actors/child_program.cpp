// What the tests of child_process start: child_program WHAT [FILE]
//
//   report       looks at how it was started; its status is the number of the first thing that is wrong
//   job FILE     its job is what FILE has: status 0
//   hold FILE    dies with its parent, whose number is its job; writes its own number into FILE, and waits
//   stop FILE    the same, and then stops itself
//   parent WHAT FILE   starts itself as WHAT, and waits
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/child_process.hpp"

using namespace troupe;

namespace {

int wrong(int number, const char* what) {
  std::fprintf(stderr, "child_program: %s\n", what);
  return number;
}

bool same_file(int one, int other) {
  struct stat a {
  }, b{};
  return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int report() {
  for (int number = 4; number < 1024; ++number)
    if (fcntl(number, F_GETFD) >= 0)
      return wrong(1, "a descriptor over 3 is open");
  if (!read_job(job_descriptor, 0))
    return wrong(2, "descriptor 3 is no empty job");
  const int null = open("/dev/null", O_RDONLY);
  if (!same_file(0, null))
    return wrong(3, "stdin is not /dev/null");
  if (!same_file(1, 2))
    return wrong(4, "stdout is not stderr");
  if (getpgrp() != getpid())
    return wrong(5, "the process group is another's");
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (sigismember(&blocked, signal) == 1)
      return wrong(6, "a signal is blocked");
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) // A sanitizer handles some itself.
      return wrong(7, "a signal is ignored");
  }
  return 0;
}

int compare_job(const char* file) {
  const auto job = read_job(job_descriptor, 1 << 24);
  std::ifstream in(file, std::ios::binary);
  const std::string wanted(std::istreambuf_iterator<char>(in), {});
  if (!job || job->size() != wanted.size() || std::memcmp(job->data(), wanted.data(), wanted.size()) != 0)
    return wrong(1, "the job is not what the file has");
  return 0;
}

int hold(const std::string& file, bool stop) {
  const auto job = read_job(job_descriptor, 100);
  if (!job)
    return wrong(1, job.error().message.c_str());
  const std::string parent(reinterpret_cast<const char*>(job->data()), job->size());
  if (const auto tied = die_with_parent(std::stoi(parent)); !tied)
    return wrong(2, tied.error().message.c_str());
  std::ofstream(file + ".part") << getpid();
  std::filesystem::rename(file + ".part", file);
  if (stop)
    raise(SIGSTOP);
  for (;;)
    pause();
}

int start_another(const char* program, const char* what, const char* file) {
  const auto self = std::to_string(getpid());
  child_options options{{program, what, file}, std::vector<std::byte>(self.size())};
  std::memcpy(options.job.data(), self.data(), self.size());
  const auto child = child_process::start(std::move(options), {});
  if (!child)
    return wrong(1, child.error().message.c_str());
  for (;;)
    pause();
}

} // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "report")
    return report();
  if (what == "job" && count == 3)
    return compare_job(arguments[2]);
  if ((what == "hold" || what == "stop") && count == 3)
    return hold(arguments[2], what == "stop");
  if (what == "parent" && count == 4)
    return start_another(arguments[0], arguments[2], arguments[3]);
  return wrong(100, "unknown arguments");
}
