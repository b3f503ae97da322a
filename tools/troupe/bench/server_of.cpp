#include "tools/troupe/bench/server_of.hpp"

#include <fmt/format.h>

namespace troupe::cli {

expected<server_access> access_of(const server_flags& server, const load_flags& load, const stop_signal& stop) {
  if (const auto kind = api_of(load.endpoint); !kind)
    return tl::unexpected(kind.error());
  const bool is_ipv6 = server.host.find(':') != std::string::npos && !server.host.starts_with('[');
  const auto host = is_ipv6 ? "[" + server.host + "]" : server.host;
  const auto url = server.base_url.empty() ? fmt::format("http://{}:{}", host, server.port) : server.base_url;
  return parse_address(url).map([&](server_address&& address) {
    return server_access{std::move(address), load.api_key, &stop};
  });
}

} // namespace troupe::cli
