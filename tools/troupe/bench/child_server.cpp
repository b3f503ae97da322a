#include "tools/troupe/bench/child_server.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tools/troupe/serve_options.hpp"

namespace troupe::cli {

namespace {

constexpr int moment_ms = 1;             ///< How exact the time of the start is.
constexpr int patience_at_end_ms = 5000; ///< After which the child is killed.

// Where a child listens is free, and its log such that its events can be read.
constexpr std::pair<const char*, const char*> set_here[] = {
  {"--port", "0"}, {"--log-format", "json"}, {"--log-level", "info"}};

std::string system_says(const char* what) {
  return std::string("Cannot ") + what + ": " + std::strerror(errno) + ".";
}

/// A member of the last entry of its log with this event; empty where there is none.
std::string last_of(const std::string& said, const char* event, const char* member) {
  std::string found;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);)
    if (const auto entry = nlohmann::json::parse(line, nullptr, false);
        entry.is_object() && entry.value("event", "") == event)
      found = entry.value(member, "");
  return found;
}

/// Its last words: those of its log, or what has been said without one.
std::string reason_in(const std::string& said) {
  if (auto reason = last_of(said, "failed", "message"); !reason.empty())
    return reason;
  std::string reason;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);)
    if (!line.empty() && !line.starts_with('{'))
      reason = line;
  return reason;
}

} // namespace

expected<std::unique_ptr<child_server>> child_server::start(std::vector<std::string> arguments,
                                                            const stop_signal& stop) {
  std::vector<std::string> ours;
  for (const auto& [option, value] : set_here)
    ours.emplace_back(option);
  if (const auto possible = serve_flags_of(arguments, ours); !possible)
    return tl::unexpected(possible.error());
  std::unique_ptr<child_server> child(new child_server(stop));
  if (auto running = child->run(std::move(arguments)); !running)
    return tl::unexpected(running.error());
  if (auto listening = child->wait_until_listening(); !listening)
    return tl::unexpected(listening.error());
  return child;
}

expected<void> child_server::run(std::vector<std::string> arguments) {
  log_ = memfd_create("troupe-serve", MFD_CLOEXEC);
  if (log_ < 0)
    return fail(errc::io, system_says("keep what a server says"));
  arguments.insert(arguments.begin(), {"troupe", "serve"});
  for (const auto& [option, value] : set_here)
    arguments.insert(arguments.end(), {option, value});
  std::vector<char*> pointers;
  for (auto& each : arguments)
    pointers.push_back(each.data());
  pointers.push_back(nullptr);
  std::vector<char*> variables; // All but keys: what is measured needs none.
  for (char** each = environ; *each; ++each)
    if (!std::string_view(*each).starts_with("TROUPE_API_KEY="))
      variables.push_back(*each);
  variables.push_back(nullptr);
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  const pid_t parent = getpid();
  started_ = std::chrono::steady_clock::now();
  process_ = fork();
  if (process_ < 0) {
    close(nothing);
    return fail(errc::io, system_says("start a server"));
  }
  if (process_ == 0) { // From here to exec only what is safe after a fork.
    setpgid(0, 0);     // A Ctrl-C is for the parent, which ends this.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(127);
    stop_.give_back();
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(log_, STDERR_FILENO);
    execve("/proc/self/exe", pointers.data(), variables.data());
    _exit(127);
  }
  close(nothing);
  return {};
}

child_server::~child_server() {
  if (process_ > 0) {
    kill(process_, SIGTERM);
    for (int waited = 0; waitpid(process_, nullptr, WNOHANG) == 0; waited += 10) {
      if (waited == patience_at_end_ms)
        kill(process_, SIGKILL);
      usleep(10000);
    }
  }
  if (log_ >= 0)
    close(log_);
}

expected<void> child_server::wait_a_moment(int patience_ms) {
  if (stop_.came_within(moment_ms))
    return fail(errc::cancelled, "A signal came.");
  int status = 0;
  if (waitpid(process_, &status, WNOHANG) == process_) {
    process_ = -1;
    auto reason = reason_in(said());
    if (reason.empty())
      reason = "status " + std::to_string(status);
    return fail(errc::unavailable, "The server has ended: " + reason + (reason.ends_with('.') ? "" : "."));
  }
  if (std::chrono::steady_clock::now() - started_ > std::chrono::milliseconds(patience_ms))
    return fail(errc::unavailable, "The server has not started in " + std::to_string(patience_ms / 1000) + " s.");
  return {};
}

expected<void> child_server::wait_until_listening() {
  while (true) {
    if (const auto url = last_of(said(), "start", "url"); !url.empty())
      return parse_address(url).map([&](server_address&& address) { access_.address = std::move(address); });
    if (auto waited = wait_a_moment(listen_patience_ms); !waited)
      return waited;
  }
}

expected<void> child_server::wait_until_ready() {
  while (true) {
    if (const auto reply = exchange(access_, "/ready"); reply && reply->status == 200)
      return {};
    else if (!reply && reply.error().code == errc::cancelled)
      return tl::unexpected(reply.error());
    if (auto waited = wait_a_moment(ready_patience_ms); !waited)
      return waited;
  }
}

std::string child_server::said() const {
  std::string text(static_cast<std::size_t>(lseek(log_, 0, SEEK_CUR)), '\0');
  const auto got = pread(log_, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

} // namespace troupe::cli
