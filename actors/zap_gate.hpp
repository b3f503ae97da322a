// Lets those ZeroMQ clients in whose CURVE keys are known: the handler that libzmq asks about each connection.
// Source: ZeroMQ RFC 27 (ZAP).
//
// Owner: whoever owns the sockets that it guards; it has no thread of its own, so that one polls `handle` beside them.
#pragma once

#include <set>
#include <string>

#include <zmq.hpp>

#include "actors/zmq_access.hpp"
#include "protocol/log.hpp"
#include "protocol/told_rarely.hpp"

namespace troupe {

class zap_gate {
public:
  /// One of a context. It is there before a socket that it guards is bound, and until that is closed: without a handler
  /// libzmq would let everybody in. access: with keys. Throws zmq::error_t.
  zap_gate(zmq::context_t& context, const zmq_access& access, logger log);

  /// From now on the socket takes those clients alone; before it is bound. Throws zmq::error_t.
  void guard(zmq::socket_t& socket) const;

  /// Readable: somebody is at the gate, and `answer` is to be called.
  void* handle() { return questions_.handle(); }
  void answer();

private:
  zmq::socket_t questions_;
  std::string secret_key_;
  std::set<std::string> known_; ///< Public keys, 32 bytes each.
  logger log_;
  told_rarely refusals_;
};

} // namespace troupe
