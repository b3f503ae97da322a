#include "actors/endpoint.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <string_view>

namespace troupe {

namespace {

constexpr std::string_view ipc = "ipc://";
constexpr std::string_view tcp = "tcp://";

bool somebody_listens(const std::string& file) {
  sockaddr_un address{};
  if (file.size() >= sizeof address.sun_path)
    return false; // ZeroMQ will say that it is too long.
  address.sun_family = AF_UNIX;
  file.copy(address.sun_path, file.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return false;
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
}

expected<void> check_file(const std::string& file, const std::string& option) {
  std::error_code unreadable; // Then ZeroMQ cannot bind there either, and says why.
  const auto status = std::filesystem::status(file, unreadable);
  if (unreadable || !std::filesystem::exists(status))
    return {};
  if (!std::filesystem::is_socket(status))
    return fail(errc::io, "Cannot listen on " + std::string(ipc) + file +
                            ": there is a file that is no socket. Choose another "
                            "endpoint with " +
                            option + ".");
  if (somebody_listens(file))
    return fail(errc::io, "Cannot listen on " + std::string(ipc) + file +
                            ": another server does. Choose another endpoint with " + option + ".");
  return {};
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return text == "*" || (problem == std::errc() && end == text.data() + text.size() && port <= 65535);
}

} // namespace

std::string socket_file_of(const std::string& endpoint) {
  if (!endpoint.starts_with(ipc))
    return {};
  auto file = endpoint.substr(ipc.size());
  const bool named =
    !file.empty() && file != "*" && file[0] != '@'; // * is a folder that ZeroMQ makes and removes, @ no file.
  return named ? file : std::string();
}

expected<void> check_endpoint(const std::string& endpoint, const std::string& option) {
  if (auto file = socket_file_of(endpoint); !file.empty())
    return check_file(file, option);
  const auto colon = endpoint.rfind(':');
  if (endpoint.starts_with(tcp) && colon >= tcp.size() && !is_port(std::string_view(endpoint).substr(colon + 1)))
    return fail(errc::invalid_argument, "Cannot listen on " + endpoint +
                                          ": a port is a number from 0 to 65535, or * for a free "
                                          "one. Choose another endpoint with " +
                                          option + ".");
  return {};
}

std::string endpoint_of_engine(const std::string& endpoint, std::uint32_t index) {
  if (index == 0)
    return endpoint;
  const auto colon = endpoint.rfind(':');
  if (!endpoint.starts_with(tcp) || colon < tcp.size())
    return endpoint + "_dp" + std::to_string(index);
  const auto text = std::string_view(endpoint).substr(colon + 1);
  unsigned port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  if (parsed.ec != std::errc() || port == 0 || port > 65535)
    return endpoint;
  return endpoint.substr(0, colon + 1) + std::to_string(port + index); // Over 65535 it is refused.
}

namespace {

/// What two sockets cannot both have; empty where it is chosen when one is bound.
std::string place_of(const std::string& endpoint) {
  if (!endpoint.starts_with(tcp))
    return endpoint;
  const auto port = endpoint.substr(endpoint.rfind(':') + 1);
  return port == "*" || port == "0" ? "" : "port " + port;
}

} // namespace

expected<void> check_apart(const given_endpoint& one, const given_endpoint& other, std::uint32_t engines) {
  for (std::uint32_t i = 0; i < engines; ++i)
    for (std::uint32_t k = 0; k < engines; ++k) {
      const auto place = place_of(endpoint_of_engine(one.endpoint, i));
      if (!place.empty() && place == place_of(endpoint_of_engine(other.endpoint, k)))
        return fail(errc::invalid_argument, one.option + " " + one.endpoint + " and " + other.option + " " +
                                              other.endpoint + " meet at " + place + ", since each of the " +
                                              std::to_string(engines) +
                                              " engines has its own: the next port, or file. Give them ports that are " +
                                              std::to_string(engines) + " or more apart, or other files.");
    }
  return {};
}

bool is_local(const std::string& endpoint) {
  if (endpoint.starts_with(ipc))
    return true;
  const auto colon = endpoint.rfind(':');
  if (!endpoint.starts_with(tcp) || colon < tcp.size())
    return false;
  const auto host = endpoint.substr(tcp.size(), colon - tcp.size());
  in_addr address{};
  return host == "[::1]" || (::inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

} // namespace troupe
