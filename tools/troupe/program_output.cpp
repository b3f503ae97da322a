#include "tools/troupe/program_output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>

#include <fmt/format.h>

namespace troupe::cli {

namespace {

constexpr std::size_t most_output = std::size_t{1} << 20; ///< Bytes.

/// The reason why not, or 0.
int spawn(std::vector<std::string>& arguments, int out, pid_t& pid) {
  std::vector<char*> pointers;
  for (auto& each : arguments)
    pointers.push_back(each.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  const int failed = posix_spawn(&pid, pointers[0], &files, &attributes, pointers.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return failed;
}

/// Up to its end; an error where that does not come.
expected<std::string> read_all(int from, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  std::string out;
  char buffer[4096];
  for (;;) {
    const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd watched{from, POLLIN, 0};
    const int ready = poll(&watched, 1, static_cast<int>(std::max<long>(left, 0)));
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready <= 0)
      return fail(errc::unavailable, fmt::format("took longer than {} s", limit.count() / 1000));
    const auto got = read(from, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail(errc::io, std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0)
      return out;
    out.append(buffer, static_cast<std::size_t>(got));
    if (out.size() > most_output)
      return fail(errc::io, "prints without an end");
  }
}

/// Its status, where it has ended by then.
std::optional<int> status_of(pid_t pid, std::chrono::steady_clock::time_point until) {
  for (;;) {
    int status = 0;
    const auto ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR))
      return status;
    if (std::chrono::steady_clock::now() >= until)
      return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

} // namespace

expected<std::string> output_of(std::vector<std::string> arguments, std::chrono::milliseconds limit) {
  const auto program = arguments.at(0);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return fail(errc::io, std::string("There is no pipe to be had: ") + std::strerror(errno) + ".");
  pid_t pid = 0;
  const int failed = spawn(arguments, ends[1], pid);
  close(ends[1]);
  if (failed) {
    close(ends[0]);
    return fail(errc::unavailable, "The program " + program + " cannot be started: " + std::strerror(failed) + ".");
  }
  const auto end = std::chrono::steady_clock::now() + limit;
  auto out = read_all(ends[0], limit);
  close(ends[0]);
  auto status = out ? status_of(pid, end) : std::nullopt; // A driver may hold up one that has said everything.
  if (!status) {
    kill(pid, SIGKILL);
    constexpr std::chrono::seconds moment{5}; // What the driver does not let go stays.
    (void)status_of(pid, std::chrono::steady_clock::now() + moment);
  }
  if (!out)
    return fail(out.error().code, "The program " + program + " " + out.error().message + ".");
  if (!status)
    return fail(errc::unavailable, fmt::format("The program {} did not end in {} s.", program, limit.count() / 1000));
  if (WIFSIGNALED(*status))
    return fail(errc::unavailable,
                fmt::format("The program {} was killed by signal {}.", program, WTERMSIG(*status)));
  return out;
}

} // namespace troupe::cli
