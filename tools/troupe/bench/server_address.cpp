#include "tools/troupe/bench/server_address.hpp"

#include <algorithm>

namespace troupe::cli {

expected<server_address> parse_address(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  const std::string shown(url);
  if (url.starts_with("https://"))
    return fail(errc::unsupported, "--base-url " + shown + ": TLS is not spoken here; measure over http://.");
  if (!url.starts_with(scheme))
    return fail(errc::invalid_argument, "--base-url must be http://HOST:PORT, and not " + shown + ".");
  url.remove_prefix(scheme.size());
  server_address out;
  const auto slash = std::min(url.find('/'), url.size());
  out.authority = url.substr(0, slash);
  out.path = url.substr(slash);
  while (out.path.ends_with('/'))
    out.path.pop_back();
  const auto colon = out.authority.rfind(':');
  const bool has_port = colon != std::string::npos && out.authority.find(']', colon) == std::string::npos;
  out.host = out.authority.substr(0, has_port ? colon : std::string::npos);
  out.port = has_port ? out.authority.substr(colon + 1) : "80";
  if (out.host.starts_with('[') && out.host.ends_with(']'))
    out.host = out.host.substr(1, out.host.size() - 2);
  const bool is_number = !out.port.empty() && out.port.size() <= 5 &&
                         std::ranges::all_of(out.port, [](char c) { return c >= '0' && c <= '9'; });
  if (out.host.empty() || !is_number || std::stoul(out.port) > 65535 || url.find_first_of(" \r\n\t") != url.npos)
    return fail(errc::invalid_argument, "--base-url must be http://HOST:PORT, and not " + shown + ".");
  return out;
}

} // namespace troupe::cli
