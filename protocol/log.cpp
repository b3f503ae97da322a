#include "protocol/log.hpp"

#include <iostream>

namespace troupe {

void say(const logger& to, log_level level, std::string_view event, std::string message,
         std::vector<log_field> fields) {
  if (!to.takes(level))
    return;
  if (to.take)
    to.take({level, event, std::move(message), std::move(fields)});
  else
    std::cerr << "troupe: " + message + "\n" << std::flush; // At once, so that no other thread's line gets into it.
}

} // namespace troupe
