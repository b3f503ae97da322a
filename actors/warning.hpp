// What an operator should know, and where it is said.
#pragma once

#include <functional>
#include <iostream>
#include <string>

namespace troupe {

/// Takes a sentence for the operator. Empty: standard error.
using warning_sink = std::function<void(const std::string&)>;

inline void warn(const warning_sink& sink, const std::string& what) {
  if (sink)
    sink(what);
  else
    std::cerr << "troupe: " << what << std::endl;
}

} // namespace troupe
