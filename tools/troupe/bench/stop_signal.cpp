#include "tools/troupe/bench/stop_signal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace troupe::cli {

stop_signal::stop_signal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  descriptor_ = signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor_ < 0)
    throw std::system_error(errno, std::system_category(), "signalfd");
}

stop_signal::~stop_signal() {
  signalfd_siginfo ignored;
  while (read(descriptor_, &ignored, sizeof ignored) > 0)
    ; // The command has ended by it.
  close(descriptor_);
  give_back();
}

bool stop_signal::came() const {
  return came_within(0);
}

bool stop_signal::came_within(int ms) const {
  pollfd item{descriptor_, POLLIN, 0};
  return poll(&item, 1, ms) > 0;
}

void stop_signal::give_back() const {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool run_until_stopped(boost::asio::io_context& context, const stop_signal& stop) {
  namespace asio = boost::asio;
  asio::posix::stream_descriptor signals(context, fcntl(stop.descriptor(), F_DUPFD_CLOEXEC, 0));
  bool stopped = false;
  signals.async_wait(asio::posix::stream_descriptor::wait_read, [&](const boost::system::error_code& problem) {
    if (!problem) {
      stopped = true;
      context.stop();
    }
  });
  context.run();
  return !stopped;
}

} // namespace troupe::cli
