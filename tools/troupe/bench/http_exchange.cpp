#include "tools/troupe/bench/http_exchange.hpp"

#include <optional>
#include <utility>

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

} // namespace

/// Each step starts the next one. After a failure it is of no more use.
class http_connection::session {
public:
  explicit session(const server_access& server) : server_(server) {}

  bool open() const { return open_; } ///< Whether another question may follow.
  bool is_late() const { return failed_ == beast::error::timeout; }

  expected<http_reply> ask(const std::string& path, const std::string& body, std::chrono::milliseconds patience) {
    prepare(path, body);
    context_.restart();
    stream_.expires_after(patience);
    if (std::exchange(open_, false))
      write();
    else
      resolver_.async_resolve(server_.address.host, server_.address.port,
                              [this](const problem& failed, const auto& found) {
                                if (!failed)
                                  connect(found);
                                else
                                  end(failed);
                              });
    if (!run_until_stopped(context_, *server_.stop))
      return fail(errc::cancelled, "A signal came.");
    if (failed_)
      return fail(errc::unavailable, "No answer from " + server_.address.url() + ": " + failed_.message() +
                                       ". Name another server with --base-url.");
    open_ =
      parser_->get().keep_alive() && parser_->get().result() == http::status::ok; // Who refuses may not read it all.
    return http_reply{parser_->get().result_int(), std::move(parser_->get().body())};
  }

private:
  void prepare(const std::string& path, const std::string& body) {
    request_ = http::request<http::string_body>(body.empty() ? http::verb::get : http::verb::post,
                                                server_.address.path + path, 11);
    request_.set(http::field::host, server_.address.authority);
    if (!server_.api_key.empty())
      request_.set(http::field::authorization, "Bearer " + server_.api_key);
    if (!body.empty()) {
      request_.set(http::field::content_type, "application/json");
      request_.body() = body;
      request_.prepare_payload();
    }
    parser_.emplace();
    parser_->body_limit(most_body_bytes);
  }
  void connect(const asio::ip::tcp::resolver::results_type& where) {
    stream_.async_connect(where, [this](const problem& failed, const auto&) { failed ? end(failed) : write(); });
  }
  void write() {
    http::async_write(stream_, request_,
                      [this](const problem& failed, std::size_t) { failed ? end(failed) : read(); });
  }
  void read() {
    http::async_read(stream_, buffer_, *parser_, [this](const problem& failed, std::size_t) { end(failed); });
  }
  void end(const problem& failed) {
    failed_ = failed;
    context_.stop();
  }

  const server_access& server_;
  asio::io_context context_;
  asio::ip::tcp::resolver resolver_{context_};
  beast::tcp_stream stream_{context_};
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  problem failed_;
  bool open_ = false;
};

http_connection::http_connection(const server_access& server) : server_(server) {}

http_connection::~http_connection() = default;

expected<http_reply> http_connection::ask(const std::string& path, const std::string& body,
                                          std::chrono::milliseconds patience) {
  while (true) {
    const bool is_used = session_ != nullptr;
    if (!is_used)
      session_ = std::make_unique<session>(server_);
    auto reply = session_->ask(path, body, patience);
    const bool again = !reply && is_used && reply.error().code == errc::unavailable && !session_->is_late();
    if (!session_->open())
      session_.reset();
    if (!again)
      return reply;
  }
}

expected<nlohmann::ordered_json> http_connection::ask_json(const std::string& path, const std::string& body) {
  const auto reply = ask(path, body);
  if (!reply)
    return tl::unexpected(reply.error());
  const auto url = server_.address.url() + path;
  if (reply->status != 200)
    return fail(errc::unavailable,
                url + " answers " + std::to_string(reply->status) + ": " + message_of(reply->body));
  auto parsed = nlohmann::ordered_json::parse(reply->body, nullptr, false);
  if (!parsed.is_object())
    return fail(errc::malformed, url + " answers with no JSON object.");
  return parsed;
}

expected<http_reply> exchange(const server_access& server, const std::string& path, const std::string& body) {
  return http_connection(server).ask(path, body);
}

expected<nlohmann::ordered_json> exchange_json(const server_access& server, const std::string& path,
                                               const std::string& body) {
  return http_connection(server).ask_json(path, body);
}

} // namespace troupe::cli
