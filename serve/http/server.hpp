// The HTTP server: a listener, its connections, and one thread for all of them.
//
// It listens before there is an engine: /live answers, /ready says 503, and so does the API. It installs no signal
// handlers, and its threads take no signals.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "serve/http/core.hpp"

namespace troupe::serve {

/// Adds routes of others; the board lives as long as the table.
using route_adder = std::function<void(route_table&, status_board&)>;

class http_server {
public:
  /// Listens, and answers from now on. Errors: io (the port is taken, the host is not here), invalid_argument (the
  /// certificate; other machines could use it, and nobody said that they may).
  static expected<std::unique_ptr<http_server>> start(http_options options, const api_table& api,
                                                      const route_adder& add = {});

  /// Closes everything at once. Calls that are open are cancelled.
  ~http_server();

  /// "http://127.0.0.1:8000"; the port is the one that was chosen.
  const std::string& url() const { return url_; }
  std::uint16_t port() const { return port_; }

  /// Constant.
  const route_table& routes() const { return core_->routes; }

  /// How the engine tells us something; may outlive the server.
  engine_door door() const;

  /// From now on requests are taken. What the handlers of the API use must be there.
  void attach(std::shared_ptr<engine_link> engine, api_context model);

  /// From now on none are taken. `quiet` is called in the server's thread when all that were open have been answered, or
  /// their clients have gone.
  void drain(std::function<void()> quiet);

private:
  class listener;
  http_server() = default;

  std::shared_ptr<server_core> core_;
  std::shared_ptr<listener> listener_;
  std::thread thread_;
  std::string url_;
  std::uint16_t port_ = 0;
};

} // namespace troupe::serve
