// Where a server is.
#pragma once

#include <string>
#include <string_view>

#include "protocol/error.hpp"

namespace troupe::cli {

struct server_address {
  std::string host, port; ///< Without the brackets of an IPv6 address.
  std::string authority;  ///< As a Host field has it.
  std::string path;       ///< What goes in front of every path; no slash at its end.

  std::string url() const { return "http://" + authority + path; }
};

/// Of "http://HOST[:PORT][/PATH]". Errors: unsupported (https), invalid_argument.
expected<server_address> parse_address(std::string_view url);

} // namespace troupe::cli
