#include "tools/troupe/http_get.hpp"

#include <cstdlib>
#include <iterator>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>
#include <nlohmann/json.hpp>

namespace troupe::cli {

namespace {

constexpr std::string_view scheme = "http://";

/// "[::1]:80" and "host:80" to host and port.
std::pair<std::string, std::string> parts_of(std::string_view authority) {
  const auto colon = authority.rfind(':');
  const bool has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  auto host = authority.substr(0, has_port ? colon : authority.npos);
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  return {std::string(host), has_port ? std::string(authority.substr(colon + 1)) : "80"};
}

std::string key_field() {
  const char* list = std::getenv("TROUPE_API_KEY");
  const std::string_view keys = list ? list : "";
  const auto key = keys.substr(0, keys.find(','));
  return key.empty() ? "" : "Authorization: Bearer " + std::string(key) + "\r\n";
}

/// Of an error as the API has it.
std::string message_of(const std::string& body) {
  const auto parsed = nlohmann::json::parse(body, nullptr, false);
  const auto message = nlohmann::json::json_pointer("/error/message");
  return parsed.is_object() && parsed.contains(message) && parsed[message].is_string()
           ? parsed[message].get<std::string>()
           : body;
}

} // namespace

expected<std::string> http_get(const std::string& url, const std::string& path, std::chrono::milliseconds patience) {
  auto authority = std::string_view(url);
  if (!authority.starts_with(scheme))
    return fail(errc::invalid_argument, "The server's URL must be http://HOST:PORT, and not " + url +
                                          ": name it with --url, or its ZeroMQ endpoint with --zmq.");
  authority.remove_prefix(scheme.size());
  authority = authority.substr(0, authority.find('/'));
  const auto [host, port] = parts_of(authority);
  boost::asio::ip::tcp::iostream server;
  server.expires_after(patience);
  server.connect(host, port);
  server << "GET " << path << " HTTP/1.0\r\nHost: " << authority << "\r\n" << key_field() << "\r\n" << std::flush;
  const std::string answer{std::istreambuf_iterator<char>(server), {}};
  const auto body = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.") || body == answer.npos)
    return fail(errc::unavailable,
                "No answer from " + url + ": is `troupe serve` running there? Name another with --url.");
  if (answer.substr(8, 5) != " 200 ")
    return fail(errc::unavailable, "The server at " + url + " refuses: " + message_of(answer.substr(body + 4)));
  return answer.substr(body + 4);
}

} // namespace troupe::cli
