// What the two halves of a stream share: stream_begin.cpp brings a request to a scheduler, stream.cpp does all that
// comes after, and ends it.
#pragma once

#include "actors/stream.hpp"

namespace troupe::stream_parts {

using self_pointer = stream_actor::stateful_pointer<stream_state>;
using journal = stream_state::journal;

void deliver(self_pointer self, server_message message);
void deliver(self_pointer self, step_deltas what); ///< Nothing, if there is nothing in it.

/// The one place where a request ends. Takes it out of every account, what still runs for it out of the scheduler,
/// and writes its last message. The journal is gone then.
request_end end_of(self_pointer self, journal& j, finish_reason reason, error failure = {errc::none, {}});

/// Ends it apart from a step.
void end_with(self_pointer self, journal& j, finish_reason reason, error failure = {errc::none, {}});
void end_with(self_pointer self, journal& j, error failure);

journal* find(self_pointer self, request_id id);

/// What a request waits for may come after it has ended, and another has taken its id.
journal* find(self_pointer self, request_id id, std::uint64_t serial);

/// At most so many in each answer; none where it wants an embedding.
inline std::uint32_t tokens_wanted(const generate_request& request) {
  return request.embed == pooling::none ? request.sampling.max_tokens : 0;
}

/// All that can be said of a request before it is admitted. Error: what is wrong with it.
expected<void> check(self_pointer self, const generate_request& request);

/// Admits, encodes, places and starts a request that has been checked; or ends it.
void begin(self_pointer self, journal& j);

/// Hands the sequences of a placed request to its scheduler, with the tokens that they have already.
void start(self_pointer self, journal& j);

/// Its engine has ended or given up: it goes on at another, under new ids, at the token after the last one that it has.
/// Where there is none, it ends with the reason.
void move(self_pointer self, journal& j, error why);

/// It is at no scheduler any more; what still runs for it is taken out, and what comes for its ids is nobody's.
void leave_scheduler(self_pointer self, journal& j);

} // namespace troupe::stream_parts
