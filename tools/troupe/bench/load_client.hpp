// Sends a load of requests to a server, and takes the time of each.
//
// Owner: one thread, which is in `run`. All sockets, the arrivals and a signal are waited for there, at once.
#pragma once

#include <deque>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "tools/troupe/bench/stop_signal.hpp"
#include "tools/troupe/bench/stream_connection.hpp"
#include "tools/troupe/progress.hpp"

namespace troupe::cli {

struct load_result {
  std::vector<request_outcome> outcomes; ///< In the order of the conversations, and of their turns.
  double duration_s = 0;
};

class load_client {
public:
  /// `arrivals`: when each of the conversations begins, in seconds. `most_open`: so many at once; another waits. The
  /// `address` of `settings` has been resolved. All but `body` outlive it.
  load_client(boost::asio::io_context& context, const stream_settings& settings, const body_settings& body,
              const std::vector<conversation>& work, std::vector<double> arrivals, std::size_t most_open);

  /// Until all have ended. Errors: cancelled (a signal came).
  expected<load_result> run(const stop_signal& stop, progress& bar);

private:
  struct talk; ///< A conversation that is under way.

  void wait_for_arrival();
  void wait_for_picture(progress& bar);
  void start_waiting();
  void ask(const std::shared_ptr<talk>& which);
  void take(const std::shared_ptr<talk>& which, request_outcome outcome, bench_clock::time_point sent);
  double since_start(bench_clock::time_point when) const;

  boost::asio::io_context& context_;
  const stream_settings& settings_;
  const body_settings body_;
  const std::vector<conversation>& work_;
  const std::vector<double> arrivals_;
  const std::size_t most_open_;
  boost::asio::steady_timer arrival_, picture_;
  std::vector<std::size_t> first_outcome_; ///< Of each conversation.
  std::vector<std::unique_ptr<stream_connection>> connections_;
  std::vector<stream_connection*> idle_;
  std::deque<std::size_t> waiting_; ///< Conversations that have arrived.
  std::size_t arrived_ = 0, open_ = 0, ended_ = 0, requests_ended_ = 0;
  bench_clock::time_point start_;
  load_result result_;
};

} // namespace troupe::cli
