// What an operator's programs ask: whether the server lives, takes requests, answers; what it is and how much it has to
// do.
//
// Owner: the thread of the sockets.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "serve/api/call.hpp"
#include "serve/http/engine_link.hpp"
#include "serve/http/limits.hpp"
#include "serve/http/routes.hpp"

namespace troupe::serve {

enum class server_phase {
  loading, ///< No request is taken yet.
  ready,
  draining, ///< None is taken any more; those that are open go on.
};

struct server_facts {
  server_phase phase = server_phase::loading;
  std::string version;
  std::optional<api_context> model; ///< Known when it is ready.
};

/// Asks the engine how it is, one question at a time however many want to know, and waits for `status_ms` at most.
class status_board {
public:
  status_board(boost::asio::any_io_executor thread, const http_limits& limits);
  ~status_board();

  void attach(std::shared_ptr<engine_link> engine);

  /// `take` is called once, later. Errors: unavailable (no engine yet, or it does not answer).
  void ask(report_taker take, bool with_actors = false);

  /// Nobody is told anything any more.
  void stop();

private:
  struct state;
  std::shared_ptr<state> state_;
};

/// Why no request is taken in this phase; nothing where it is.
std::optional<error> refusal_in(server_phase phase);

/// /live, /ready, /health, /version, /load, /v1/models. Both must outlive the table.
void add_probes(route_table& routes, const server_facts& facts, status_board& board, const http_limits& limits);

} // namespace troupe::serve
