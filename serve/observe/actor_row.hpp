// One line of the tree of actors, as the page shows it; without CAF, so that what draws it needs none.
#pragma once

#include <cstdint>
#include <string>

namespace troupe::serve {

struct actor_row {
  std::uint64_t id = 0;
  std::string name;
  std::uint64_t parent = 0; ///< 0: the root.
  bool threaded = false;    ///< Has a thread or a process of its own: what follows is not counted.
  std::uint64_t messages = 0;
  std::uint32_t mailbox = 0; ///< Messages that were there when it got a thread the last time.
  double busy_us = 0;
};

} // namespace troupe::serve
