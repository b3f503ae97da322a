// Block events on a ZeroMQ socket, in the way in which vLLM publishes its own, so that routers and monitors which
// follow that can follow this. The payload is in engine/kv/event_codec.hpp.
//
// A PUB socket sends three frames for each batch: the topic, the batch's number (8 bytes, the most significant one
// first), the payload. Numbers rise by one; where one is missing, events were lost, and a subscriber's picture may be
// wrong until an AllBlocksCleared.
//
// A ROUTER socket, if there is an endpoint for it, replays: a request of three frames, identity, an empty one, and a
// number (a REQ or DEALER adds the identity, a REQ the empty one too), is answered with a message (identity, empty,
// number, payload) for each batch from that number on that is still in the buffer, and at last one whose number is
// `end_of_replay` and whose payload is empty. A subscriber that does not read gets no more once its queue is full,
// and no end.
//
// Owner of: the sockets, the buffer. It runs in a thread of its own, which sleeps in `zmq_poll`.
#pragma once

#include <string>

#include "actors/interfaces.hpp"
#include "actors/zmq_access.hpp"
#include "engine/kv/event_codec.hpp"
#include "protocol/log.hpp"

namespace troupe {

struct kv_events_options {
  std::string endpoint;        ///< "tcp://*:5557", "ipc:///path"; a port of * takes a free one.
  std::string replay_endpoint; ///< Empty: nothing is replayed.
  std::string topic;
  kv_event_format format;
  std::size_t buffer_steps = 10'000;        ///< Batches that can be replayed,
  std::size_t buffer_bytes = 64u << 20;     ///< in so many bytes together.
  std::uint32_t max_queued_frames = 10'000; ///< For one subscriber that reads too slowly; then it misses some.
  /// In batches on their way to the actor; over that, new ones are lost.
  std::uint32_t max_waiting_blocks = 262'144;
  zmq_access access;
  logger log;
};

/// A publisher that has bound its sockets, with the ports that were chosen.
struct running_kv_events {
  kv_events_actor actor;
  std::string endpoint, replay_endpoint;
};

/// Binds and spawns. It ends on an exit message. Errors: io (an endpoint is taken or wrong), invalid_argument.
expected<running_kv_events> spawn_kv_events(caf::actor_system& system, kv_events_options options);

} // namespace troupe
