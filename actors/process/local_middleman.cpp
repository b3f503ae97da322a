#include "actors/process/local_middleman.hpp"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include <caf/io/all.hpp>
#include <caf/io/middleman_actor_impl.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/doorman_impl.hpp>
#include <caf/io/network/scribe_impl.hpp>

#include "actors/process/interfaces.hpp"

namespace troupe {

namespace {

namespace net = caf::io::network;

/// In the abstract namespace: it starts with a zero, and is gone with its last descriptor.
socklen_t address_of(const std::string& name, sockaddr_un& out) {
  out = {};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path + 1, name.data(), std::min(name.size(), sizeof out.sun_path - 1));
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

/// A socket that listens under a name, or is connected to it.
template <class Then>
caf::expected<int> open_socket(const std::string& name, Then then) {
  sockaddr_un address;
  if (name.size() >= sizeof address.sun_path)
    return caf::make_error(caf::sec::cannot_open_port, "the name is too long", name);
  const auto size = address_of(name, address);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && then(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0)
    return fd;
  const int why = errno;
  if (fd >= 0)
    close(fd);
  return caf::make_error(caf::sec::cannot_open_port, std::strerror(why), name);
}

bool is_of_this_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

class local_doorman final : public net::doorman_impl {
public:
  local_doorman(net::default_multiplexer& multiplexer, int fd, std::uint16_t port)
      : doorman_impl(multiplexer, fd), port_(port) {}

  bool new_connection() override {
    if (detached())
      return false; // Its broker has gone.
    auto& multiplexer = acceptor_.backend();
    const int fd = acceptor_.accepted_socket();
    if (!is_of_this_user(fd)) {
      close(fd);
      return true;
    }
    auto connection = multiplexer.new_scribe(fd);
    const auto handle = connection->hdl();
    parent()->add_scribe(std::move(connection));
    return doorman::new_connection(&multiplexer, handle);
  }
  std::uint16_t port() const override { return port_; }
  std::string addr() const override { return "local"; }

private:
  std::uint16_t port_;
};

class local_middleman final : public caf::io::middleman_actor_impl {
public:
  using middleman_actor_impl::middleman_actor_impl;
  const char* name() const override { return "local_middleman"; }

protected:
  caf::expected<caf::io::scribe_ptr> connect(const std::string& host, std::uint16_t) override {
    auto fd = open_socket(host, ::connect);
    if (!fd)
      return fd.error();
    return caf::io::scribe_ptr(caf::make_counted<net::scribe_impl>(multiplexer(), *fd));
  }

  caf::expected<caf::io::doorman_ptr> open(std::uint16_t port, const char* name, bool) override {
    auto fd = open_socket(name ? name : "", [](int fd, const sockaddr* address, socklen_t size) {
      return bind(fd, address, size) == 0 ? listen(fd, SOMAXCONN) : -1;
    });
    if (!fd)
      return fd.error();
    return caf::io::doorman_ptr(caf::make_counted<local_doorman>(multiplexer(), *fd, port));
  }

private:
  net::default_multiplexer& multiplexer() {
    return dynamic_cast<net::default_multiplexer&>(system().middleman().backend());
  }
};

} // namespace

void configure_processes(caf::actor_system_config& config) {
  config.load<caf::io::middleman>();
  config.set("middleman.workers", std::size_t{0}); // Messages are small: another thread would cost more than they do.
  config.add_message_type<wire_message>("troupe::wire_message");
}

caf::io::middleman_actor spawn_local_middleman(caf::actor_system& system) {
  return system.spawn<local_middleman, caf::detached + caf::hidden>(
    system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP")));
}

std::string new_token() {
  unsigned char random[16];
  for (std::size_t have = 0; have < sizeof random;) {
    const auto got = getrandom(random + have, sizeof random - have, 0);
    if (got < 0 && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "getrandom");
    have += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  std::string out;
  for (const auto byte : random)
    for (const auto digit : {byte >> 4, byte & 15})
      out += "0123456789abcdef"[digit];
  return out;
}

std::string new_socket_name() {
  return "troupe-" + std::to_string(getpid()) + "-" + new_token();
}

} // namespace troupe
