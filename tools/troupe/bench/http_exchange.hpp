// Questions to a server over HTTP, and their whole answers.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "tools/troupe/bench/server_address.hpp"
#include "tools/troupe/bench/stop_signal.hpp"

namespace troupe::cli {

struct http_reply {
  unsigned status = 0;
  std::string body;
};

/// Who is asked, and by whom.
struct server_access {
  server_address address;
  std::string api_key; ///< Sent as a bearer's, unless empty.
  const stop_signal* stop = nullptr;
};

inline constexpr std::chrono::seconds exchange_patience{60};

/// A connection that stays open between questions; `server` outlives it. One question at a time.
class http_connection {
public:
  explicit http_connection(const server_access& server);
  ~http_connection();

  /// A GET, or a POST of JSON where there is a body. Where the server has closed the connection since the last answer it
  /// is asked again on another. Errors: unavailable (nobody listens, or answers in time), cancelled (a signal came).
  expected<http_reply> ask(const std::string& path, const std::string& body = {},
                           std::chrono::milliseconds patience = exchange_patience);

  /// The same where 200 and a JSON object are wanted. Errors: also unavailable (another status, with the server's
  /// words), malformed (no JSON object).
  expected<nlohmann::ordered_json> ask_json(const std::string& path, const std::string& body = {});

private:
  class session;

  const server_access& server_;
  std::unique_ptr<session> session_; ///< Open, where there is one.
};

/// On a connection of its own.
expected<http_reply> exchange(const server_access& server, const std::string& path, const std::string& body = {});
expected<nlohmann::ordered_json> exchange_json(const server_access& server, const std::string& path,
                                               const std::string& body = {});

} // namespace troupe::cli
