// The API calls that are running: which engine request is whose, and what goes where.
//
// Owner: the thread of the sockets. A call has exactly one ending: `finish`, `end` or `fail` of its listener, unless it was
// abandoned before.
#pragma once

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "serve/api/call.hpp"
#include "serve/http/engine_link.hpp"

namespace troupe::serve {

/// Whoever waits for a call: a connection. It is never called from within `begin`.
class call_listener {
public:
  virtual ~call_listener() = default;
  virtual void send(std::string&& bytes) = 0;  ///< More of the stream.
  virtual void end() = 0;                      ///< The stream is complete.
  virtual void finish(http_answer answer) = 0; ///< The answer is this, and nothing was sent before.
  /// A bug of ours: the rest will not come. thrown: the type of the exception; what it says may quote a prompt.
  virtual void fail(const std::string& thrown) = 0;
};

class running_calls : public engine_listener {
public:
  using call_id = request_id;
  using poster = std::function<void(std::function<void()>)>;

  /// `post` has a function called later, in this thread.
  explicit running_calls(poster post) : post_(std::move(post)) {}

  void attach(std::shared_ptr<engine_link> engine) { engine_ = std::move(engine); }

  /// Submits what the call asks of the engine. The listener must abandon it before it is gone itself. What the call throws
  /// comes out of here. origin: of its requests; of several each has its number behind the name.
  call_id begin(api_call_ptr call, call_listener& listener, const request_origin& origin);

  /// Nobody waits for it any more: its requests are cancelled. An unknown one has ended.
  void abandon(call_id id);

  /// Its client is slow: what is in flight still comes. An unknown one has ended.
  void pause(call_id id);
  void resume(call_id id);

  std::size_t open() const { return calls_.size(); }

  void deliver(std::vector<server_message> messages) override;
  void stream_lost(std::uint32_t stream, const error& why) override;

private:
  struct running_call {
    api_call_ptr call;
    call_listener* listener = nullptr;
    std::uint32_t stream = 0;
    std::vector<bool> ended; ///< By request; the id of request i is the call's id + i.
    std::size_t left = 0;
    bool appended = false; ///< Some of the stream has been sent.
    bool paused = false;
    bool failed = false;
    std::string out; ///< Of the stream, since it was sent the last time.
  };
  using table = std::map<call_id, running_call>;

  table::iterator find(request_id id);
  void take(token_delta&& delta);
  void take(const request_end& end);
  /// The call has thrown: a bug of ours.
  void give_up(table::iterator which, const std::exception& thrown);
  void cancel_requests(table::iterator which);
  /// One of its requests has failed, and so has the call: the others are not waited for.
  void end_others(table::iterator which);
  /// Sends what calls have appended, and ends those that are complete.
  void settle_touched();
  void settle(call_id id);

  poster post_;
  std::shared_ptr<engine_link> engine_;
  table calls_;
  std::vector<call_id> touched_; ///< By the delivery that is being taken.
  request_id next_id_ = 1;
};

} // namespace troupe::serve
