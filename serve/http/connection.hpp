// One client's connection: reads requests, one after the other, and writes their answers.
//
// Owner: the thread of the sockets. It lives in `server_core::connections` until it is closed, and as long as its transport
// has something under way. A read is always outstanding, while a request is being answered, too: so a client that goes away
// is noticed at once and its call abandoned. What comes meanwhile (a pipelined request) waits for its turn.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "serve/http/checks.hpp"
#include "serve/http/transport.hpp"

namespace troupe::serve {

class connection : public call_listener, public std::enable_shared_from_this<connection> {
public:
  using time_point = std::chrono::steady_clock::time_point;

  connection(std::shared_ptr<server_core> core, std::unique_ptr<transport> bytes);
  ~connection() override;

  void start();

  /// Closes it if something has taken too long.
  void look_at(time_point now);

  /// Whatever it was about, it is over.
  void close();

  /// Without a request, and so nothing is lost if it is closed.
  bool idle() const { return state_ == state::idle; }

  void send(std::string&& bytes) override;
  void end() override;
  void finish(http_answer answer) override;
  void fail(const std::string& thrown) override;

private:
  enum class state {
    handshake,
    idle, ///< Between two requests.
    head, ///< Some of a request is there,
    body, ///< and all of its header.
    answering,
    lingering, ///< All is said; what still comes is dropped until the client has read that.
    closed,
  };
  using parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  // Reading.
  void read();
  void keep_bytes(std::size_t count);
  void take_bytes();
  void begin_request();
  void take_head();
  void take_whole_request();
  void refuse_malformed(const boost::system::error_code& problem);
  void account_body(std::size_t bytes);
  bool has_use_for_body() const { return decision_.found && decision_.found->read; }

  // Answering.
  void run(const route& found);
  void read_body_elsewhere(const api_handler& read);
  void take_outcome(api_outcome outcome);
  void refuse(unsigned status, const error& failure);
  void respond(http_answer answer, const std::string& fields = {});
  std::string common_fields();
  void start_answering();
  void log_answer(unsigned status);
  std::string path_to_log() const { return head_.request.path.substr(0, limits_.max_logged_path_bytes); }
  void log_unfinished();
  void log_bug(const std::string& thrown);
  void finish_exchange();
  bool keeps_alive() const;

  // Writing.
  void write(std::string_view bytes);
  void write_more();
  void written(std::size_t bytes);
  std::size_t unsent() const { return out_.size() + writing_.size() - written_; }

  void enter(state next, std::uint32_t limit_ms);
  void abandon_call();

  /// Calls `what` with this if it is still about the same request.
  template <class What>
  auto for_this_request(What what) {
    return [weak = weak_from_this(), number = request_number_, what = std::move(what)](auto&&... arguments) mutable {
      if (auto self = weak.lock(); self && self->request_number_ == number && self->state_ != state::closed)
        what(*self, std::forward<decltype(arguments)>(arguments)...);
    };
  }

  std::shared_ptr<server_core> core_;
  const http_limits& limits_;
  std::unique_ptr<transport> bytes_;
  state state_ = state::handshake;
  time_point deadline_;       ///< Of this state; none while it answers.
  time_point write_deadline_; ///< Of the write under way.

  std::vector<char> read_buffer_; ///< Of the read that is outstanding.
  boost::beast::flat_buffer in_;  ///< What has come and was not looked at yet.
  bool reading_ = false;
  std::optional<parser> parser_;
  request_head head_;
  time_point begun_; ///< When the request's first byte was there.
  head_decision decision_;
  std::uint64_t request_number_ = 0;
  std::size_t accounted_ = 0;                            ///< Of `server_core::bodies_bytes`.
  std::shared_ptr<std::atomic<bool>> reading_elsewhere_; ///< True while somebody waits for what is read.

  std::optional<running_calls::call_id> call_;
  bool paused_ = false;
  bool streaming_ = false; ///< A stream's head has been sent.
  bool complete_ = false;  ///< All of the answer is in `out_`, or was.
  bool keep_alive_ = true;

  std::string out_;     ///< To be written after
  std::string writing_; ///< this, of which
  std::size_t written_ = 0;
  bool write_under_way_ = false;
};

} // namespace troupe::serve
