#include "tools/troupe/bench/http_exchange.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>

#include "tools/troupe/bench/answer_stream.hpp"

namespace troupe::cli {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using problem = boost::system::error_code;

constexpr std::uint64_t most_body_bytes = 256u << 20;

/// Each step starts the next one.
class single_call {
public:
  single_call(const server_access& server, const std::string& path, const std::string& body)
      : server_(server.address),
        request_(body.empty() ? http::verb::get : http::verb::post, server_.path + path, 11) {
    request_.set(http::field::host, server_.authority);
    request_.set(http::field::connection, "close");
    if (!server.api_key.empty())
      request_.set(http::field::authorization, "Bearer " + server.api_key);
    if (!body.empty()) {
      request_.set(http::field::content_type, "application/json");
      request_.body() = body;
      request_.prepare_payload();
    }
    parser_.body_limit(most_body_bytes);
  }

  expected<http_reply> run(const stop_signal& stop, std::chrono::milliseconds patience) {
    stream_.expires_after(patience);
    resolver_.async_resolve(server_.host, server_.port, [this](const problem& failed, const auto& found) {
      if (!failed)
        connect(found);
      else
        end(failed);
    });
    if (!run_until_stopped(context_, stop))
      return fail(errc::cancelled, "A signal came.");
    if (failed_)
      return fail(errc::unavailable, "No answer from " + server_.url() + ": " + failed_.message() +
                                       ". Name another server with --base-url.");
    return http_reply{parser_.get().result_int(), std::move(parser_.get().body())};
  }

private:
  void connect(const asio::ip::tcp::resolver::results_type& where) {
    stream_.async_connect(where, [this](const problem& failed, const auto&) { failed ? end(failed) : write(); });
  }
  void write() {
    http::async_write(stream_, request_,
                      [this](const problem& failed, std::size_t) { failed ? end(failed) : read(); });
  }
  void read() {
    http::async_read(stream_, buffer_, parser_, [this](const problem& failed, std::size_t) { end(failed); });
  }
  void end(const problem& failed) {
    failed_ = failed;
    context_.stop();
  }

  const server_address& server_;
  asio::io_context context_;
  asio::ip::tcp::resolver resolver_{context_};
  beast::tcp_stream stream_{context_};
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  problem failed_;
};

} // namespace

expected<http_reply> exchange(const server_access& server, const std::string& path, const std::string& body,
                              std::chrono::milliseconds patience) {
  return single_call(server, path, body).run(*server.stop, patience);
}

expected<nlohmann::ordered_json> exchange_json(const server_access& server, const std::string& path,
                                               const std::string& body) {
  const auto reply = exchange(server, path, body);
  if (!reply)
    return tl::unexpected(reply.error());
  if (reply->status != 200)
    return fail(errc::unavailable, server.address.url() + path + " answers " + std::to_string(reply->status) + ": " +
                                     message_of(reply->body));
  auto parsed = nlohmann::ordered_json::parse(reply->body, nullptr, false);
  if (!parsed.is_object())
    return fail(errc::malformed, server.address.url() + path + " answers with no JSON object.");
  return parsed;
}

} // namespace troupe::cli
