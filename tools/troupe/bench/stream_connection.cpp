#include "tools/troupe/bench/stream_connection.hpp"

#include <limits>

#include <fmt/format.h>

namespace troupe::cli {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using problem_code = boost::system::error_code;

constexpr std::size_t most_refusal_bytes = 64u << 10;

} // namespace

stream_connection::stream_connection(boost::asio::io_context& context, const stream_settings& settings)
    : settings_(settings), stream_(context) {
  request_.method(http::verb::post);
  request_.target(settings.address.path + settings.path);
  request_.set(http::field::host, settings.address.authority);
  request_.set(http::field::content_type, "application/json");
  if (!settings.api_key.empty())
    request_.set(http::field::authorization, "Bearer " + settings.api_key);
}

void stream_connection::ask(std::string body, std::function<void(request_outcome, bench_clock::time_point)> done) {
  request_.body() = std::move(body);
  request_.prepare_payload();
  done_ = std::move(done);
  answer_.emplace(settings_.kind);
  refusal_.clear();
  sent_ = bench_clock::now();
  stream_.expires_after(settings_.patience);
  reused_ = open_;
  if (open_)
    write();
  else
    connect();
}

void stream_connection::connect() {
  open_ = reused_ = false;
  buffer_.clear();
  stream_.async_connect(settings_.where, [this](const problem_code& problem, const auto&) {
    if (problem)
      return end(sentence_of(problem));
    open_ = true;
    stream_.socket().set_option(boost::asio::ip::tcp::no_delay(true));
    write();
  });
}

void stream_connection::write() {
  http::async_write(stream_, request_, [this](const problem_code& problem, std::size_t) {
    if (problem && reused_) // The server has closed what was idle.
      return connect();
    if (problem)
      return end(sentence_of(problem));
    read_head();
  });
}

void stream_connection::read_head() {
  parser_.emplace();
  parser_->body_limit(std::numeric_limits<std::uint64_t>::max()); // An answer may go on for long.
  http::async_read_header(stream_, buffer_, *parser_, [this](const problem_code& problem, std::size_t bytes) {
    if (problem && reused_ && bytes == 0 && problem != beast::error::timeout)
      return connect();
    if (problem)
      return end(sentence_of(problem));
    read_some();
  });
}

void stream_connection::read_some() {
  if (parser_->is_done())
    return end({});
  auto& body = parser_->get().body();
  body.data = part_.data();
  body.size = part_.size();
  body.more = true;
  http::async_read_some(stream_, buffer_, *parser_, [this](const problem_code& problem, std::size_t) {
    take(part_.size() - parser_->get().body().size);
    if (problem && problem != http::error::need_buffer)
      return end(sentence_of(problem));
    read_some();
  });
}

void stream_connection::take(std::size_t bytes) {
  const std::string_view came(part_.data(), bytes);
  if (parser_->get().result() == http::status::ok)
    answer_->feed(came, seconds());
  else if (refusal_.size() < most_refusal_bytes)
    refusal_ += came;
}

void stream_connection::end(const std::string& error) {
  open_ = error.empty() && parser_->is_done() && parser_->get().keep_alive();
  if (!open_) {
    problem_code ignored;
    stream_.socket().close(ignored);
  }
  stream_.expires_never();
  auto outcome = answer_->end();
  if (!error.empty())
    outcome.error = error;
  else if (parser_->get().result() != http::status::ok)
    outcome.error = fmt::format("{}: {}", parser_->get().result_int(), message_of(refusal_));
  std::exchange(done_, nullptr)(std::move(outcome), sent_);
}

double stream_connection::seconds() const {
  return std::chrono::duration<double>(bench_clock::now() - sent_).count();
}

std::string stream_connection::sentence_of(const problem_code& problem) const {
  if (problem == beast::error::timeout)
    return fmt::format("No whole answer within {} s.", settings_.patience.count());
  if (!open_)
    return "Cannot connect to " + settings_.address.url() + ": " + problem.message() + ".";
  return "The connection broke off: " + problem.message() + ".";
}

} // namespace troupe::cli
