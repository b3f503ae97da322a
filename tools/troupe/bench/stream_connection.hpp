// A connection to a server that asks for one stream after the other, and takes the time of each.
//
// Owner: one load client, in its thread. Nothing here blocks.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <optional>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include "tools/troupe/bench/answer_stream.hpp"
#include "tools/troupe/bench/server_address.hpp"

namespace troupe::cli {

using bench_clock = std::chrono::steady_clock;
using resolved_address = boost::asio::ip::tcp::resolver::results_type;

/// What all requests of a load have in common.
struct stream_settings {
  server_address address;
  resolved_address where;
  std::string path; ///< Of the endpoint.
  std::string api_key;
  std::chrono::seconds patience{0}; ///< For a whole request.
  api kind = api::completions;
};

class stream_connection {
public:
  /// `settings` outlive it.
  stream_connection(boost::asio::io_context& context, const stream_settings& settings);

  /// Sends a request, on the connection that is there or a new one, and calls `done` when its answer has ended, with the time
  /// at which it was sent; `start` and `queued` of the outcome are the caller's. One at a time.
  void ask(std::string body, std::function<void(request_outcome, bench_clock::time_point sent)> done);

private:
  void connect();
  void write();
  void read_head();
  void read_some();
  void take(std::size_t bytes);
  void end(const std::string& error);
  double seconds() const;
  std::string sentence_of(const boost::system::error_code& problem) const;

  const stream_settings& settings_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  boost::beast::http::request<boost::beast::http::string_body> request_;
  std::optional<boost::beast::http::response_parser<boost::beast::http::buffer_body>> parser_;
  std::array<char, 16384> part_;
  std::optional<answer_stream> answer_;
  std::string refusal_; ///< The body of an answer that is no stream.
  std::function<void(request_outcome, bench_clock::time_point)> done_;
  bench_clock::time_point sent_;
  bool open_ = false, reused_ = false;
};

} // namespace troupe::cli
