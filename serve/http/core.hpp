// What all connections of one server share.
//
// Owner: the thread of the sockets, but for what is constant once the server listens (options, routes).
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "protocol/log.hpp"
#include "protocol/told_rarely.hpp"
#include "serve/http/calls.hpp"
#include "serve/http/keys.hpp"
#include "serve/http/limits.hpp"
#include "serve/http/probes.hpp"
#include "serve/http/routes.hpp"

namespace troupe::serve {

struct http_options {
  std::string host = "127.0.0.1"; ///< A name or an address.
  std::uint16_t port = 8000;      ///< 0 takes a free one.
  std::string version;            ///< Ours.
  api_keys keys;
  std::vector<std::string> cors_origins; ///< "*" is all. Empty: no page of another origin may use the server.
  std::string tls_certificates, tls_key; ///< Files; empty: no TLS.
  bool open_access = false;              ///< Without keys, listens where other machines can reach it, too.
  http_limits limits;
  logger log;
};

class connection;

struct server_core {
  explicit server_core(http_options given)
      : options(std::move(given)), calls([this](std::function<void()> f) { post(std::move(f)); }),
        board(thread.get_executor(), options.limits) {}

  /// Has it called later, in the thread of the sockets; from any thread.
  void post(std::function<void()> what);

  /// Tells whoever waits for it that nothing is being answered.
  void look_whether_quiet();

  boost::asio::io_context thread{1};
  http_options options;
  route_table routes;
  server_facts facts;
  running_calls calls;
  status_board board;
  boost::asio::thread_pool readers{1}; ///< Of large bodies.
  std::unordered_set<std::shared_ptr<connection>> connections;
  std::size_t bodies_bytes = 0;   ///< Of all bodies that are being received or read.
  told_rarely refusals;           ///< In the log.
  std::size_t answering = 0;      ///< Connections that owe an answer.
  std::function<void()> on_quiet; ///< Called once, when nothing is being answered.
};

} // namespace troupe::serve
