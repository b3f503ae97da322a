// The half of a connection that answers and writes.
#include <algorithm>
#include <exception>

#include <boost/asio/post.hpp>

#include "protocol/trace_context.hpp"
#include "serve/http/connection.hpp"
#include "serve/http/errors.hpp"
#include "serve/http/response.hpp"

namespace troupe::serve {

using boost::system::error_code;

namespace {

/// What its answer calls the request, and its trace, if it has one.
request_origin origin_of(const http_request& request) {
  request_origin origin;
  origin.name = request.id;
  if (parse_traceparent(request.traceparent)) // Otherwise it counts as absent, as the specification has it.
    origin.traceparent = request.traceparent.substr(0, traceparent_bytes);
  return origin;
}

} // namespace

void connection::start_answering() {
  if (state_ != state::answering)
    enter(state::answering, 0);
}

void connection::run(const route& found) {
  try {
    if (found.now)
      return respond(found.now(head_.request));
    if (found.later)
      return found.later(head_.request, for_this_request([](connection& self, http_answer answer) {
                           self.respond(std::move(answer));
                         }));
    if (head_.request.body.size() > limits_.inline_body_bytes)
      return read_body_elsewhere(found.read);
    auto outcome = found.read(head_.request.body);
    head_.request.body = {};
    account_body(0);
    take_outcome(std::move(outcome));
  } catch (const std::exception& thrown) {
    fail(type_of(thrown));
  }
}

/// The body belongs to the job from here on, and so does its part of the account: it is there until the job has been done,
/// whatever becomes of the connection.
void connection::read_body_elsewhere(const api_handler& read) {
  auto body = std::make_shared<std::string>(std::move(head_.request.body));
  const auto wanted = reading_elsewhere_ = std::make_shared<std::atomic<bool>>(true);
  auto done = for_this_request([](connection& self, std::shared_ptr<api_outcome> outcome, const std::string& thrown) {
    self.reading_elsewhere_ = nullptr;
    if (!outcome)
      return self.fail(thrown);
    try {
      self.take_outcome(std::move(*outcome));
    } catch (const std::exception& bug) {
      self.fail(type_of(bug));
    }
  });
  boost::asio::post(core_->readers,
                    [&read, body, wanted, done, core = core_.get(), bytes = std::exchange(accounted_, 0)]() mutable {
                      std::shared_ptr<api_outcome> outcome;
                      std::string thrown;
                      try {
                        if (*wanted)
                          outcome = std::make_shared<api_outcome>(read(*body));
                      } catch (const std::exception& bug) { // Or no memory.
                        thrown = type_of(bug);
                      }
                      body.reset();
                      core->post([done, outcome, thrown, core, bytes]() mutable {
                        core->bodies_bytes -= bytes;
                        done(outcome, thrown);
                      });
                    });
}

void connection::take_outcome(api_outcome outcome) {
  if (!outcome.call)
    return respond(std::move(outcome.answer));
  if (const auto why = refusal_in(core_->facts.phase)) // Since its header came.
    return refuse(503, *why);
  call_ = core_->calls.begin(std::move(outcome.call), *this, origin_of(head_.request));
}

/// Who may not come in is told of, though not each time; everything else where somebody looks for it.
void connection::log_answer(unsigned status) {
  const auto& log = core_->options.log;
  const auto now = std::chrono::steady_clock::now();
  const auto unsaid = status == 401 || status == 403 ? core_->refusals.next(now) : std::nullopt;
  const auto level = unsaid ? log_level::info : log_level::debug;
  if (!log.takes(level))
    return;
  const std::chrono::duration<double, std::milli> took = now - begun_;
  const auto& request = head_.request;
  std::vector<log_field> fields{{"client", bytes_->peer()}, {"method", request.method},
                                {"path", path_to_log()},    {"status", std::uint64_t{status}},
                                {"ms", took.count()},       {"request", request.id}};
  if (unsaid)
    fields.push_back({"unsaid", *unsaid});
  say(log, level, unsaid ? "client_refused" : "http_answer",
      unsaid ? "an HTTP client may not do this" : "HTTP request answered", std::move(fields));
}

/// Nobody else would tell what has become of the request.
void connection::log_unfinished() {
  const auto& log = core_->options.log;
  if (!log.takes(log_level::debug))
    return;
  say(log, log_level::debug, "http_unfinished", "an HTTP request ended without all of its answer",
      {{"client", bytes_->peer()}, {"path", path_to_log()}, {"request", head_.request.id}});
}

void connection::log_bug(const std::string& thrown) {
  say(core_->options.log, log_level::error, "http_failed",
      "a bug of the server ended an HTTP request: report it, please",
      {{"exception", thrown}, {"path", path_to_log()}, {"request", head_.request.id}});
}

bool connection::keeps_alive() const {
  return keep_alive_ && core_->facts.phase != server_phase::draining;
}

void connection::refuse(unsigned status, const error& failure) {
  respond(error_answer(head_.request.path, status, failure));
}

/// Of every answer, whole lines.
std::string connection::common_fields() {
  auto& request = head_.request;
  if (request.id.empty()) // Its header has not come.
    request.id = request_id_of({});
  return cors_fields(core_->options, request) + id_fields(request.path, request.id);
}

void connection::respond(http_answer answer, const std::string& fields) {
  if (complete_) // A request has one answer.
    return;
  start_answering();
  keep_alive_ = keeps_alive();
  const auto all_fields = common_fields() + fields;
  add_request_id(head_.request.path, head_.request.id, answer);
  response_head head;
  head.status = answer.status;
  head.content_type = answer.content_type;
  head.length = answer.body.size();
  head.keep_alive = keep_alive_;
  head.retry_after_ms = answer.retry_after_ms;
  head.fields = all_fields;
  auto text = to_string(head);
  if (head_.request.method != "HEAD")
    text += answer.body;
  complete_ = true;
  log_answer(answer.status);
  write(text);
}

void connection::send(std::string&& bytes) {
  if (!std::exchange(streaming_, true)) {
    keep_alive_ = keeps_alive() && head_.http_1_1;
    const auto fields = common_fields();
    response_head head;
    head.content_type = "text/event-stream; charset=utf-8";
    head.http_1_1 = head_.http_1_1;
    head.keep_alive = keep_alive_;
    head.fields = fields;
    out_ += to_string(head);
  }
  if (head_.http_1_1)
    append_chunk(out_, bytes);
  else
    out_ += bytes;
  write({});
  if (unsent() > limits_.max_unsent_bytes && call_ && !std::exchange(paused_, true))
    core_->calls.pause(*call_);
}

void connection::end() {
  call_.reset();
  complete_ = true;
  log_answer(200);
  write(head_.http_1_1 ? last_chunk : std::string_view());
}

void connection::finish(http_answer answer) {
  call_.reset();
  respond(std::move(answer));
}

void connection::fail(const std::string& thrown) {
  call_.reset();
  log_bug(thrown);
  if (streaming_)
    return close();
  refuse(500, {errc::internal, "Something is wrong in the server itself: this request cannot be answered."});
}

/// The answer is written: what is next on this connection.
void connection::finish_exchange() {
  account_body(0);
  if (!keep_alive_) {
    enter(state::lingering, limits_.linger_ms);
    bytes_->end_writing();
    return;
  }
  begin_request();
  take_bytes(); // A pipelined request.
}

// --- writing ---------------------------------------------------------------------------------------------------------

void connection::write(std::string_view bytes) {
  out_ += bytes;
  if (!write_under_way_)
    write_more();
}

void connection::write_more() {
  if (written_ == writing_.size()) {
    writing_.clear();
    written_ = 0;
    std::swap(writing_, out_);
  }
  if (writing_.empty()) {
    if (complete_ && state_ == state::answering)
      finish_exchange();
    return;
  }
  write_under_way_ = true;
  write_deadline_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(limits_.stalled_ms);
  bytes_->write_some({writing_.data() + written_, writing_.size() - written_},
                     [self = shared_from_this()](const error_code& problem, std::size_t count) {
                       self->write_under_way_ = false;
                       if (self->state_ == state::closed)
                         return;
                       if (problem)
                         return self->close();
                       self->written(count);
                     });
}

void connection::written(std::size_t bytes) {
  written_ += bytes;
  if (paused_ && unsent() < limits_.max_unsent_bytes / 2) {
    paused_ = false;
    if (call_)
      core_->calls.resume(*call_);
  }
  write_more();
}

} // namespace troupe::serve
