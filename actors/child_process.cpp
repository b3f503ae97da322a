#include "actors/child_process.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <future>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace troupe {

namespace {

std::string said_by_system(int reason) {
  return std::generic_category().message(reason);
}

class descriptor {
public:
  explicit descriptor(int number = -1) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~descriptor() { close(); }
  int get() const { return number_; }
  void close() {
    if (number_ >= 0)
      ::close(std::exchange(number_, -1));
  }

private:
  int number_;
};

/// What a new process begins with. posix_spawn gives the reason why a program cannot be run, where fork and exec do not.
class spawn_attributes {
public:
  explicit spawn_attributes(int job) {
    posix_spawn_file_actions_init(&files_);
    // Numbers below 3 may be free in this process, and the job's among them: it goes first.
    failed_ = posix_spawn_file_actions_adddup2(&files_, job, job_descriptor);
    failed_ = failed_ ? failed_ : posix_spawn_file_actions_addopen(&files_, 0, "/dev/null", O_RDONLY, 0);
    failed_ = failed_ ? failed_ : posix_spawn_file_actions_adddup2(&files_, 2, 1);
    failed_ = failed_ ? failed_ : posix_spawn_file_actions_addclosefrom_np(&files_, job_descriptor + 1);
    posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
  }
  spawn_attributes(const spawn_attributes&) = delete;
  ~spawn_attributes() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }

  /// The reason why not, or 0.
  int spawn(std::vector<std::string>& arguments, pid_t& pid) const {
    if (failed_)
      return failed_;
    std::vector<char*> pointers;
    for (auto& argument : arguments)
      pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    return posix_spawn(&pid, pointers[0], &files_, &attributes_, pointers.data(), environ);
  }

private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
  int failed_ = 0;
};

struct started {
  pid_t pid = 0;
  descriptor job; ///< Where to write it.
};

expected<started> spawn(std::vector<std::string> arguments) {
  const auto failed = [&](int reason) {
    return fail(errc::unavailable,
                "The program " + arguments[0] + " cannot be started: " + said_by_system(reason) + ".");
  };
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return failed(errno);
  const descriptor to_read(ends[0]);
  started out{0, descriptor(ends[1])};
  if (const int reason = spawn_attributes(to_read.get()).spawn(arguments, out.pid); reason != 0)
    return failed(reason);
  return out;
}

/// A child that ends without having read it all is no error here: how it ended is told.
void write_job(descriptor to, const std::vector<std::byte>& job) {
  for (std::size_t done = 0; done < job.size();) {
    const auto written = write(to.get(), job.data() + done, job.size() - done);
    if (written < 0 && errno != EINTR)
      return;
    done += static_cast<std::size_t>(std::max<ssize_t>(written, 0));
  }
}

child_end end_of(int status) {
  if (WIFEXITED(status))
    return {"ended with status " + std::to_string(WEXITSTATUS(status)), status};
  const int signal = WTERMSIG(status);
  const char* name = sigdescr_np(signal);
  return {"was killed by signal " + std::to_string(signal) + (name ? " (" + std::string(name) + ")" : ""), status};
}

/// A thread on which no signal arrives: neither one that another thread waits for, nor SIGPIPE.
template <class Body>
std::thread quiet_thread(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  struct restore {
    const sigset_t& mask;
    ~restore() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } restore{before};
  return std::thread(std::move(body));
}

} // namespace

expected<std::unique_ptr<child_process>> child_process::start(child_options options, end_handler on_end) {
  if (options.arguments.empty())
    return fail(errc::invalid_argument, "A child process needs at least the path of its program.");
  std::unique_ptr<child_process> child(new child_process);
  std::promise<expected<pid_t>> promise;
  auto result = promise.get_future();
  try {
    child->thread_ = quiet_thread([self = child.get(), options = std::move(options), on_end = std::move(on_end),
                                   promise = std::move(promise)]() mutable {
      auto made = spawn(std::move(options.arguments));
      if (!made)
        return promise.set_value(tl::unexpected(std::move(made.error())));
      self->pid_ = made->pid;
      promise.set_value(made->pid);
      write_job(std::move(made->job), std::exchange(options.job, {}));
      self->wait(on_end);
    });
  } catch (const std::system_error& e) {
    return fail(errc::unavailable, std::string("There are no threads left for a child process: ") + e.what() + ".");
  }
  if (auto pid = result.get(); !pid) {
    child->thread_.join();
    return tl::unexpected(std::move(pid.error()));
  }
  return child;
}

/// The number stays the child's until it is reaped, and that is under the mutex that `kill` takes.
void child_process::wait(const end_handler& on_end) {
  siginfo_t information{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &information, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  int status = 0;
  bool known = false;
  {
    const std::lock_guard guard(mutex_);
    known = waitpid(pid_, &status, WNOHANG) == pid_;
    reaped_ = true;
  }
  if (on_end)
    on_end(known ? end_of(status) : child_end{"has ended, and someone else has taken its status", -1});
}

void child_process::kill() {
  const std::lock_guard guard(mutex_);
  if (!reaped_)
    ::kill(pid_, SIGKILL);
}

child_process::~child_process() {
  if (!thread_.joinable())
    return;
  kill();
  thread_.join();
}

expected<void> die_with_parent(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    return fail(errc::io, "The system does not tie this process to its parent: " + said_by_system(errno) + ".");
  // Had it ended before, no signal would come.
  if (getppid() != parent)
    return fail(errc::unavailable, "The process " + std::to_string(parent) + ", which started this one, has ended.");
  return {};
}

expected<std::vector<std::byte>> read_job(int descriptor_number, std::size_t limit) {
  const descriptor from(descriptor_number);
  std::vector<std::byte> job;
  std::size_t size = 0;
  for (;;) {
    job.resize(std::min(limit, std::max<std::size_t>(2 * size, 65536)) +
               1); // One more shows that there are too many.
    const auto got = read(from.get(), job.data() + size, job.size() - size);
    if (got < 0 && errno != EINTR)
      return fail(errc::io, "The job cannot be read from descriptor " + std::to_string(descriptor_number) + ": " +
                              said_by_system(errno) + ".");
    if (got == 0)
      break;
    size += static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    if (size > limit)
      return fail(errc::limit_exceeded, "The job has more than " + std::to_string(limit) + " bytes.");
  }
  job.resize(size);
  return job;
}

} // namespace troupe
