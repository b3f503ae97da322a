#include "serve/http/connection.hpp"

#include <algorithm>

#include <boost/asio/buffer.hpp>

#include "serve/http/errors.hpp"

namespace troupe::serve {

namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t read_bytes = 16u << 10;          ///< At once.
constexpr std::size_t kept_capacity_bytes = 64u << 10; ///< Of buffers, between two requests.

std::string field(const http::fields& fields, http::field name) {
  return std::string(fields[name]);
}

std::string field(const http::fields& fields, const char* name) {
  return std::string(fields[name]);
}

request_head head_of(const http::request<http::string_body>& message) {
  request_head head;
  auto& request = head.request;
  request.method = std::string(message.method_string());
  split_target({message.target().data(), message.target().size()}, request);
  request.authorization = field(message, http::field::authorization);
  request.api_key = field(message, "x-api-key");
  request.content_type = field(message, http::field::content_type);
  request.content_encoding = field(message, http::field::content_encoding);
  request.id = request_id_of(field(message, "x-request-id"));
  request.origin = field(message, http::field::origin);
  if (message.count("traceparent") == 1)
    request.traceparent = field(message, "traceparent");
  request.asked_method = field(message, http::field::access_control_request_method);
  request.asked_headers = field(message, http::field::access_control_request_headers);
  head.http_1_1 = message.version() >= 11;
  head.has_host = message.find(http::field::host) != message.end();
  head.host = field(message, http::field::host);
  head.fields = static_cast<std::size_t>(std::distance(message.begin(), message.end()));
  head.expect = field(message, http::field::expect);
  return head;
}

} // namespace

connection::connection(std::shared_ptr<server_core> core, std::unique_ptr<transport> bytes)
    : core_(std::move(core)), limits_(core_->options.limits), bytes_(std::move(bytes)), read_buffer_(read_bytes),
      in_(limits_.max_header_bytes + limits_.max_pipelined_bytes + read_bytes) {}

connection::~connection() = default;

void connection::start() {
  enter(state::handshake, limits_.handshake_ms);
  bytes_->handshake([self = shared_from_this()](const error_code& problem) {
    if (self->state_ == state::closed)
      return;
    if (problem)
      return self->close();
    self->begin_request();
    self->read();
  });
}

void connection::enter(state next, std::uint32_t limit_ms) {
  const bool answered = state_ == state::answering;
  state_ = next;
  deadline_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
  if (answered == (next == state::answering))
    return;
  core_->answering += answered ? -1 : 1;
  if (answered)
    core_->look_whether_quiet();
}

void connection::look_at(time_point now) {
  if (write_under_way_ && now >= write_deadline_) { // It takes nothing.
    say(core_->options.log, log_level::info, "client_cut", "a client that takes nothing of its answer is cut",
        {{"client", bytes_->peer()}, {"path", path_to_log()}, {"unsent_bytes", std::uint64_t{unsent()}}});
    return close();
  }
  if (state_ == state::answering || now < deadline_)
    return;
  if (state_ != state::head && state_ != state::body)
    return close();
  const bool in_head = state_ == state::head;
  keep_alive_ = false;
  if (in_head)
    head_ = {};
  refuse(408, {errc::limit_exceeded, in_head ? "The header of the request did not come in time."
                                             : "The body of the request did not come in time."});
}

void connection::close() {
  if (state_ == state::closed)
    return;
  const auto self = shared_from_this(); // The set may hold the last of us.
  if (state_ == state::answering && !complete_)
    log_unfinished();
  abandon_call();
  if (reading_elsewhere_)
    *reading_elsewhere_ = false;
  account_body(0);
  enter(state::closed, 0);
  bytes_->close();
  core_->connections.erase(self);
}

void connection::abandon_call() {
  if (call_)
    core_->calls.abandon(*std::exchange(call_, std::nullopt));
}

// --- reading ---------------------------------------------------------------------------------------------------------

void connection::read() {
  if (std::exchange(reading_, true))
    return;
  const boost::asio::mutable_buffer space(read_buffer_.data(), read_buffer_.size());
  bytes_->read_some(space, [self = shared_from_this()](const error_code& problem, std::size_t count) {
    self->reading_ = false;
    if (self->state_ == state::closed)
      return;
    if (problem)
      return self->close();
    self->keep_bytes(count);
    if (self->state_ != state::closed)
      self->read();
  });
}

/// Of what was read.
void connection::keep_bytes(std::size_t count) {
  if (state_ == state::lingering)
    return;
  if (state_ == state::answering && in_.size() + count > limits_.max_pipelined_bytes)
    return close();
  if (in_.size() + count > in_.max_size()) // The line of a chunk's size, say, that has no end.
    return refuse_malformed(http::error::buffer_overflow);
  in_.commit(boost::asio::buffer_copy(in_.prepare(count), boost::asio::buffer(read_buffer_, count)));
  take_bytes();
}

void connection::take_bytes() {
  while ((state_ == state::idle || state_ == state::head || state_ == state::body) && in_.size() > 0) {
    if (state_ == state::idle) {
      begun_ = std::chrono::steady_clock::now();
      enter(state::head, limits_.header_ms);
    }
    error_code problem;
    const auto taken = parser_->put(in_.data(), problem);
    in_.consume(taken);
    if (problem == http::error::need_more)
      problem = {};
    if (problem)
      return refuse_malformed(problem);
    if (state_ == state::head && parser_->is_header_done())
      take_head();
    if (state_ == state::body) {
      if (has_use_for_body())
        account_body(std::max<std::size_t>(head_.content_length.value_or(0), parser_->get().body().size()));
      if (accounted_ > 0 && head_.chunked &&
          core_->bodies_bytes > limits_.max_bodies_bytes) { // Of the others the header said how much.
        keep_alive_ = false;
        std::string().swap(parser_->get().body());
        account_body(0);
        return refuse(503, bodies_are_full);
      }
      if (parser_->is_done())
        take_whole_request();
    }
    if (taken == 0)
      return;
  }
}

void connection::begin_request() {
  ++request_number_;
  parser_.emplace();
  parser_->header_limit(limits_.max_header_bytes);
  parser_->body_limit(limits_.max_body_bytes);
  head_ = {};
  decision_ = {};
  streaming_ = complete_ = paused_ = false;
  keep_alive_ = true;
  if (in_.capacity() > kept_capacity_bytes && in_.size() == 0)
    in_.shrink_to_fit();
  if (out_.capacity() > kept_capacity_bytes)
    std::string().swap(out_); // Where `= {}` would keep all of it.
  if (writing_.capacity() > kept_capacity_bytes)
    std::string().swap(writing_);
  enter(state::idle, limits_.idle_ms);
}

void connection::take_head() {
  const auto& message = parser_->get();
  head_ = head_of(message);
  head_.chunked = parser_->chunked();
  if (const auto length = parser_->content_length())
    head_.content_length = *length;
  keep_alive_ = message.keep_alive();
  decision_ = decide(*core_, head_);
  enter(state::body, limits_.body_ms);
  if (!parser_->is_done()) {
    const bool waits = head_.http_1_1 && !head_.expect.empty();
    if (!decision_.found &&
        (waits || head_.chunked || head_.content_length.value_or(0) > limits_.max_unread_body_bytes)) {
      keep_alive_ = false; // The body would come all the same.
      return respond(decision_.answer.answer, decision_.answer.fields);
    }
    if (waits && in_.size() == 0)
      write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (!has_use_for_body())
    parser_->body_limit(limits_.max_unread_body_bytes); // It may come in chunks.
  parser_->eager(true);
}

void connection::refuse_malformed(const error_code& problem) {
  keep_alive_ = false;       // Nobody knows where the next request would begin.
  if (state_ == state::head) // The method and the path may be known, where they tell who asks in which way.
    head_ = head_of(parser_->get());
  const auto kib = [](std::size_t bytes) { return std::to_string(bytes >> 10) + " KiB at most."; };
  if (problem == http::error::body_limit && state_ == state::body && !has_use_for_body())
    return refuse(413, body_of_no_use(head_.request.path));
  if (problem == http::error::body_limit)
    return refuse(413, {errc::limit_exceeded, "A body may have " + kib(limits_.max_body_bytes)});
  if (problem == http::error::header_limit || problem == http::error::buffer_overflow)
    return refuse(431, {errc::limit_exceeded, "The header of a request may have " + kib(limits_.max_header_bytes)});
  if (problem == http::error::bad_version)
    return refuse(400, {errc::malformed, "This server speaks HTTP/1.1."});
  refuse(400, {errc::malformed, "This is not HTTP as it should be: " + problem.message() + "."});
}

void connection::account_body(std::size_t bytes) {
  core_->bodies_bytes += bytes - accounted_;
  accounted_ = bytes;
}

void connection::take_whole_request() {
  start_answering();
  if (!decision_.found)
    return respond(decision_.answer.answer, decision_.answer.fields);
  head_.request.body = std::move(parser_->get().body());
  run(*decision_.found);
}

} // namespace troupe::serve
