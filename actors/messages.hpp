// What actors say to each other, beside the messages of clients (protocol/messages.hpp) and steps (engine/step.hpp).
//
// Plain values; they stay inside one process for now, so CAF moves them as they are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/block_pool.hpp"
#include "engine/planner.hpp"
#include "engine/step.hpp"
#include "model/backend.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// Names a client's connection within the actor that owns its socket.
using connection_id = std::uint64_t;

/// Messages for one client, in order: all that a step brought it.
struct delivery {
  connection_id connection = 0;
  std::vector<server_message> messages;
};

/// For `expected<nothing>`: done, or why not.
using nothing = std::monostate;

/// The router's leave to begin. Its id is never used twice, so that it names the sequence in every engine.
struct ticket {
  sequence_id id = 0;
};

/// What a step brought to the sequences of one stream: tokens, or the reason why a sequence gets none.
struct sequence_event {
  sequence_id sequence = 0;
  std::uint32_t index = 0; ///< Of the token in the answer.
  token_id token = 0;
  std::optional<finish_reason> finished;
  std::optional<error> failure; ///< Then there is no token, and it is the last event.
};
using sequence_events = std::vector<sequence_event>;

/// A step travels to every worker of every stage; all share it.
using step_ptr = std::shared_ptr<const step_changes>;

/// What a worker runs on.
struct worker_info {
  std::string device;  ///< "cpu"
  std::string backend; ///< backend::name()
  memory_account memory;
};

struct router_status {
  std::uint32_t open_requests = 0;
  std::uint64_t refused = 0;
};

} // namespace troupe
