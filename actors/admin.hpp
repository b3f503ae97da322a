// What an operator asks of a running server: one short-lived actor for each admin_request.
//
// Owner of: nothing but its answer, which goes to the client as a delivery like every other message, so that whoever
// owns the client's connection waits for nobody. It ends with its answer.
#pragma once

#include "actors/interfaces.hpp"

namespace troupe {

/// Answers with one `admin_reply`, whatever happens: unavailable where a part of the server does not answer.
void answer_admin(caf::actor_system& system, supervisor_actor supervisor, client_actor client,
                  connection_id connection, admin_request request);

} // namespace troupe
