// What the HTTP side and the engine say to each other: no CAF here, so that the rest of this folder builds and is tested
// without it. serve/http/front.hpp is the engine's end.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "protocol/messages.hpp"
#include "serve/observe/actor_row.hpp"

namespace troupe::serve {

/// How the engine is, at one moment.
struct engine_report {
  server_status status;
  std::optional<error>
    sick;             ///< Why requests that are open may wait in vain: workers are being replaced, a step is late.
  double step_ms = 0; ///< How long the longest of the steps in flight has taken so far.
  std::vector<actor_row> actors;
};

using report_taker = std::function<void(expected<engine_report>)>;

/// The engine, as the thread of the sockets sees it. Every call is made in that thread and waits for nothing.
class engine_link {
public:
  virtual ~engine_link() = default;

  /// Streams that are there now, to each of which requests can be given: one step brings one delivery for all of a
  /// stream's requests. Nothing: the engine is stopping.
  virtual std::optional<std::uint32_t> choose_stream() = 0;

  virtual void submit(std::uint32_t stream, generate_request request) = 0;
  virtual void cancel(std::uint32_t stream, request_id id) = 0;
  virtual void pause(std::uint32_t stream, request_id id) = 0;
  virtual void resume(std::uint32_t stream, request_id id) = 0;

  /// `take` is called later, in the same thread; never if the engine says nothing. The actors are of the report only where
  /// they are asked for, since to look at them has them count what they do.
  virtual void ask_report(bool with_actors, report_taker take) = 0;
};

/// Who is told what the engine says; called in the thread of the sockets.
class engine_listener {
public:
  virtual ~engine_listener() = default;

  /// What came for requests of a stream, in order.
  virtual void deliver(std::vector<server_message> messages) = 0;

  /// A stream has died: its requests never end by themselves.
  virtual void stream_lost(std::uint32_t stream, const error& why) = 0;
};

/// The way from any thread to that of the sockets: has this called there, later, with whoever listens. When nobody does any
/// more it is dropped.
using engine_door = std::function<void(std::function<void(engine_listener&)>)>;

} // namespace troupe::serve
