// What each actor costs, without a line of measurement in the actors: the linker's --wrap puts these functions before
// CAF's own `enqueue` and `resume` of every actor that this program instantiates.
//
// Threads: counters are atomic; reading them while actors run gives a moment's values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include <caf/all.hpp>

namespace troupe::bench {

struct actor_cost {
  std::uint64_t messages = 0;    ///< That were sent to it.
  std::uint64_t bytes = 0;       ///< Of these messages' contents, with what they point to.
  std::uint64_t turns = 0;       ///< How often a thread took it up.
  std::uint64_t nanoseconds = 0; ///< In which a thread ran it.
};

/// Sums by the name of the actors' states, since the start or the last `reset_costs`. Actors without a state are
/// "stage" here: there is no other kind.
std::map<std::string, actor_cost> costs();
void reset_costs();

/// The bytes of a message that are worth counting; defined by the program. 0 for any other message.
std::uint64_t payload_bytes(caf::type_erased_tuple& content);

} // namespace troupe::bench
